// Shows what has arrived since: fetches the same page and swaps the parts that change.
const EVERY_MS = 2000;
const PARTS = ["totals", "faults", "list", "paging"];

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of PARTS) {
      const fresh = page.getElementById(id);
      const shown = document.getElementById(id);
      const open = shown.querySelector("details[open]");
      if (open) fresh.querySelector("details")?.setAttribute("open", "");
      if (fresh.innerHTML !== shown.innerHTML) shown.replaceWith(fresh);
    }
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}

setInterval(refresh, EVERY_MS);

// A part is not refreshed while somebody fills in a form in it, nor while the page is not seen.
document.addEventListener("htmx:before:request", (event) => {
	const part = event.target.closest("section[hx-get]");
	if (part && (document.hidden || part.querySelector("details.act[open]"))) {
		event.preventDefault();
	}
});

// A table or a diagram that is wider than the screen scrolls by itself: let the keyboard reach it.
const reach = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
});

function find() {
  for (const wide of document.querySelectorAll('.md-typeset__scrollwrap, p:has(> img[src$=".svg"])')) reach.observe(wide);
}

new MutationObserver(find).observe(document.body, { childList: true, subtree: true }); // the theme puts tables into them
find();

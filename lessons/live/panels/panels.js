// Fills each panel of the page when a reader scrolls to it: nothing is loaded for one that nobody looks at.

const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    fill(target);
  }
}, { rootMargin: "300px" });

async function fill(figure) {
  const stage = figure.querySelector(".stage"), name = figure.dataset.panel;
  try {
    const { mount } = await import(`./${name}.js`);
    await mount(stage);
    figure.dataset.ready = "yes";
  } catch (error) {
    stage.append(Object.assign(document.createElement("p"), { className: "fault", textContent: `The panel does not run. ${error.message}` }));
  }
}

document.querySelectorAll("figure.panel").forEach((figure) => watcher.observe(figure));

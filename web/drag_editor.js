// A drawing on a node in which a text of its own is edited by mouse. The text stays what is saved and sent.
import { app } from "../../scripts/app.js";

const SVG = "http://www.w3.org/2000/svg";

export function shape(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const byName = (node, name) => node.widgets?.find((widget) => widget.name === name);

const isLinked = (node, name) => node.inputs?.some((input) => input.widget?.name === name && input.link != null);

const follow = (widget, told) => {
  const { callback } = widget;
  widget.callback = function () {
    const answer = callback?.apply(this, arguments);
    told();
    return answer;
  };
};

// Where the mouse is, in the drawing's own pixels, however far the graph is zoomed.
export function place(svg, event) {
  const { left, top, width, height } = svg.getBoundingClientRect();
  return [((event.clientX - left) / width) * svg.clientWidth, ((event.clientY - top) / height) * svg.clientHeight];
}

class DragEditor {
  constructor(node, about) {
    Object.assign(this, { node, about, text: byName(node, about.text), menu: byName(node, about.menu), dragged: null });
    this.element = document.createElement("div");
    this.svg = shape("svg", { "data-editor": about.text });
    this.svg.style.cssText = "display:block; width:100%; touch-action:none; user-select:none; cursor:pointer";
    this.element.append(this.svg, ...(about.more?.(this) ?? []));
    this.widget = node.addDOMWidget(`${about.text} by mouse`, "drag_editor", this.element, {
      serialize: false, // neither sent with the prompt
      getMinHeight: () => this.height,
      getMaxHeight: () => this.height,
      getValue: () => "",
      setValue: () => {},
    });
    this.widget.serialize = false; // nor saved with the graph
    for (const name of [about.text, about.menu, ...(about.also ?? [])]) follow(byName(node, name), () => this.refresh());
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.refresh();
  }

  get isShown() {
    return this.menu.value === this.about.choice && !isLinked(this.node, this.about.text);
  }

  get height() {
    return this.isShown ? this.about.height(this.text.value) : 0;
  }

  listen() {
    const { svg, about } = this;
    svg.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      if (event.button) return;
      this.dragged = about.take(this, event);
      if (this.dragged) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => this.dragged && about.move(this, event));
    for (const ending of ["pointerup", "pointercancel"]) svg.addEventListener(ending, () => (this.dragged = null));
    svg.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      about.remove(this, event);
    });
  }

  write(text) {
    this.text.value = text;
    this.text.callback?.(text);
  }

  refresh() {
    const before = this.shownHeight ?? 0;
    this.widget.hidden = !this.isShown;
    this.shownHeight = this.height;
    this.element.style.display = this.isShown ? "" : "none";
    this.svg.style.height = `${this.height - (this.about.below ?? 0)}px`;
    if (before !== this.shownHeight) this.makeRoom(this.shownHeight - before);
    this.draw();
    app.graph?.setDirtyCanvas(true, true);
  }

  makeRoom(more) {
    const [width, height] = this.node.size;
    this.node.setSize([width, Math.max(height + more, this.node.computeSize()[1])]);
  }

  draw() {
    if (this.isShown && this.svg.clientWidth) this.svg.replaceChildren(...this.about.draw(this));
  }
}

export function edit(nodeType, about) {
  const { onNodeCreated, onConfigure } = nodeType.prototype;
  nodeType.prototype.onNodeCreated = function () {
    onNodeCreated?.apply(this, arguments);
    this.dragEditor = new DragEditor(this, about);
  };
  nodeType.prototype.onConfigure = function (saved) {
    onConfigure?.apply(this, arguments);
    this.dragEditor?.refresh();
    if (saved.size) this.setSize([saved.size[0], Math.max(saved.size[1], this.computeSize()[1])]);
  };
}

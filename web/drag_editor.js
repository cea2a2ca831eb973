// A drawing on a node in which a text of its own is edited by mouse. The text stays what is saved and sent.
import { app } from "../../scripts/app.js";
import { afterwards, byName, hideWhen, isLinked } from "./what_applies.js";

const SVG = "http://www.w3.org/2000/svg";

export function shape(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Where the mouse is, in the drawing's own pixels, however far the graph is zoomed.
export function place(svg, event) {
  const { left, top, width, height } = svg.getBoundingClientRect();
  return [((event.clientX - left) / width) * svg.clientWidth, ((event.clientY - top) / height) * svg.clientHeight];
}

class DragEditor {
  constructor(node, about) {
    Object.assign(this, { node, about, text: byName(node, about.text), dragged: null });
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
    hideWhen(node, this.widget, () => !this.isShown);
    for (const name of [about.text, about.menu, ...(about.also ?? [])])
      afterwards(byName(node, name), "callback", () => this.refresh());
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.refresh();
  }

  get isShown() {
    return !this.text.hidden && !isLinked(this.node, this.about.text);
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
    const before = this.drawnHeight;
    this.drawnHeight = this.about.height(this.text.value);
    this.svg.style.height = `${this.drawnHeight - (this.about.below ?? 0)}px`;
    if (this.isShown && before !== undefined) this.makeRoom(this.drawnHeight - before);
    this.draw();
    app.graph?.setDirtyCanvas(true, true);
  }

  makeRoom(more) {
    const [width, height] = this.node.size;
    if (more) this.node.setSize([width, Math.max(height + more, this.node.computeSize()[1])]);
  }

  draw() {
    if (this.isShown && this.svg.clientWidth) this.svg.replaceChildren(...this.about.draw(this));
  }
}

export function edit(nodeType, about) {
  afterwards(nodeType.prototype, "onNodeCreated", function () {
    this.dragEditor = new DragEditor(this, about);
  });
  afterwards(nodeType.prototype, "onConfigure", function () {
    this.dragEditor.refresh();
  });
}

/**
 * A list of any length, of which only the visible part is in the document.
 */
import { element, oncePerPicture } from "./dom.js";

/** Rows beyond the edges, so that scrolling does not show empty space. */
const MARGIN = 6;
/** How close to the end counts as being at the end, in rows. */
const NEAR = 1.5;

/**
 * A listbox in a scrolling element. Rows have one height, the element's `--row` in pixels.
 *
 * It emits `selected` (with the item). While it is at the end, it follows added items.
 */
export class VirtualList extends EventTarget {
	#viewport;
	#space = element("div", { role: "presentation", class: "space" });
	#row;
	#items = [];
	#drawn = new Map();
	#active = -1;
	#follows = true;
	#draw = oncePerPicture(() => this.#drawVisible());

	/**
	 * @param {HTMLElement} viewport
	 * @param {(item: {sequence: number}) => HTMLElement} row makes an option's element
	 */
	constructor(viewport, row) {
		super();
		this.#viewport = viewport;
		this.#row = row;
		viewport.append(this.#space);
		viewport.addEventListener("scroll", () => this.#scrolled());
		viewport.addEventListener("keydown", (event) => this.#pressed(event));
		viewport.addEventListener("click", (event) => this.#clicked(event));
		new ResizeObserver(() => this.#draw()).observe(viewport);
	}

	/** Whether the end is in view, and stays there. */
	get follows() {
		return this.#follows;
	}

	/** The selected item. */
	get selected() {
		return this.#items[this.#active];
	}

	/** Shows other items; the selection is kept if it is still present. */
	show(items) {
		const { selected } = this;
		this.#items = items;
		this.#active = selected ? items.findIndex(({ sequence }) => sequence === selected.sequence) : -1;
		this.#draw();
	}

	/** Scrolls to the end and follows it. */
	follow() {
		this.#follows = true;
		this.#draw();
	}

	get #height() {
		return parseFloat(getComputedStyle(this.#viewport).getPropertyValue("--row"));
	}

	#drawVisible() {
		const { clientHeight } = this.#viewport;
		// Not in view; it is drawn once it is, because its size changes then.
		if (clientHeight === 0) return;
		const height = this.#height;
		this.#space.style.height = `${this.#items.length * height}px`;
		if (this.#follows) this.#viewport.scrollTop = this.#viewport.scrollHeight;
		const first = Math.max(0, Math.floor(this.#viewport.scrollTop / height) - MARGIN);
		const end = Math.min(this.#items.length, Math.ceil((this.#viewport.scrollTop + clientHeight) / height) + MARGIN);
		const drawn = new Map();
		for (let index = first; index < end; index += 1) {
			const item = this.#items[index];
			drawn.set(item.sequence, this.#place(this.#drawn.get(item.sequence) ?? this.#create(item), index, height));
		}
		this.#drawn = drawn;
		this.#space.replaceChildren(...drawn.values());
		const active = this.selected && drawn.get(this.selected.sequence);
		if (active) this.#viewport.setAttribute("aria-activedescendant", active.id);
		else this.#viewport.removeAttribute("aria-activedescendant");
	}

	#create(item) {
		const row = this.#row(item);
		row.id = `${this.#viewport.id}-${item.sequence}`;
		row.setAttribute("role", "option");
		return row;
	}

	#place(row, index, height) {
		row.style.transform = `translateY(${index * height}px)`;
		row.dataset.index = index;
		row.setAttribute("aria-posinset", index + 1);
		row.setAttribute("aria-setsize", this.#items.length);
		row.setAttribute("aria-selected", index === this.#active);
		return row;
	}

	#scrolled() {
		const { scrollTop, scrollHeight, clientHeight } = this.#viewport;
		const follows = scrollHeight - clientHeight - scrollTop < NEAR * this.#height;
		if (follows !== this.#follows) {
			this.#follows = follows;
			this.dispatchEvent(new Event("followed"));
		}
		this.#draw();
	}

	#clicked({ target }) {
		const row = target.closest("[data-index]");
		if (row) this.#select(Number(row.dataset.index));
	}

	#pressed(event) {
		const page = Math.max(1, Math.floor(this.#viewport.clientHeight / this.#height) - 1);
		const last = this.#items.length - 1;
		const from = this.#active < 0 ? last : this.#active;
		const goals = { ArrowUp: from - 1, ArrowDown: from + 1, PageUp: from - page, PageDown: from + page, Home: 0, End: last };
		if (!(event.key in goals) || last < 0) return;
		event.preventDefault();
		this.#select(Math.min(last, Math.max(0, this.#active < 0 ? last : goals[event.key])));
	}

	#select(index) {
		this.#active = index;
		const height = this.#height;
		const { scrollTop, clientHeight } = this.#viewport;
		const top = index * height;
		if (top < scrollTop) this.#viewport.scrollTop = top;
		else if (top + height > scrollTop + clientHeight) this.#viewport.scrollTop = top + height - clientHeight;
		this.#follows = index === this.#items.length - 1;
		this.#draw();
		this.dispatchEvent(new CustomEvent("selected", { detail: this.selected }));
	}
}

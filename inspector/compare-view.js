/**
 * Side by side: each event as a table with a column for each connection.
 */
import { ago, badge, byId, element, oncePerPicture } from "./dom.js";
import { compare } from "./pairing.js";

/** How many events are on the page; the others are among the frames. */
const MAX_CARDS = 30;
/** How much of a value is shown. */
const MAX_TEXT = 160;

/** Shows the events of a pairing, newest first. */
export class CompareView {
	#pairing;
	#links;
	#cards = new Map();
	#stale = new Set();
	#draw = oncePerPicture(() => this.#drawAll());

	/**
	 * @param {import("./pairing.js").Pairing} pairing
	 * @param {import("./link.js").Link[]} links
	 */
	constructor(pairing, links) {
		this.#pairing = pairing;
		this.#links = links;
		byId("clear-compare").addEventListener("click", () => this.clear());
	}

	/** An event is new, or the other side has received it too. */
	changed(pair) {
		this.#stale.add(pair.key);
		this.#draw();
	}

	clear() {
		this.#pairing.clear();
		this.#draw();
	}

	#drawAll() {
		const shown = [...this.#pairing.pairs.values()].slice(-MAX_CARDS).reverse();
		const keys = new Set(shown.map(({ key }) => key));
		for (const key of this.#cards.keys()) if (!keys.has(key)) this.#cards.delete(key);
		for (const pair of shown) {
			if (!this.#cards.has(pair.key) || this.#stale.has(pair.key)) this.#cards.set(pair.key, this.#card(pair));
		}
		this.#stale.clear();
		byId("events").replaceChildren(...shown.map(({ key }) => this.#cards.get(key)));
		byId("no-events").hidden = shown.length > 0;
		const { size } = this.#pairing.pairs;
		byId("event-count").textContent = size > MAX_CARDS ? `the newest ${MAX_CARDS} of ${size}` : "";
	}

	#card({ title, topic, offset, time, frames }) {
		const received = this.#links.map(({ name }) => frames.get(name));
		const isChange = received.some((frame) => frame?.type === "postgres_changes");
		const heading = element("h3", {}, title, topic !== undefined && element("span", { class: "place" }, ` in ${topic}`));
		const when = element("p", { class: "quiet" }, `${isChange ? "row change" : "message"} · offset ${offset ?? "–"} · `, ago(time));
		return element("li", { class: "card" }, element("div", { class: "card-head" }, heading, when), this.#table(received, isChange));
	}

	#table(received, isChange) {
		const head = this.#links.map((link, index) => {
			const operation = received[index]?.eventType;
			return element("th", { scope: "col" }, badge(link.name), ` ${nameOf(link)} `, operation && element("span", { class: "operation" }, operation));
		});
		const compared = compare(received);
		const rows = compared.map((row, index) => this.#row(row, received, index === 0 && compared.length));
		const bare = received.map((frame) => element("td", {}, frame ? "yes, without columns" : nothing("not received")));
		const none = element("tr", {}, element("th", { scope: "row" }, "received"), ...bare);
		return element(
			"table",
			{ class: "compare" },
			element("thead", {}, element("tr", {}, element("th", { scope: "col" }, isChange ? "Column" : "Key"), ...head)),
			element("tbody", {}, ...(rows.length > 0 ? rows : [none])),
		);
	}

	/** @param {number | false} height how many rows there are, in the first; a side that got nothing has one cell for all */
	#row({ name, differs, cells }, received, height) {
		const values = cells.map((cell, index) => {
			if (!received[index]) return height && element("td", { rowspan: height }, nothing("not received"));
			if (!cell) return element("td", {}, nothing("not sent"));
			const mark = cell.isMasked && element("span", { class: "tag masked" }, "masked");
			return element("td", { class: cell.isMasked ? "is-masked" : undefined }, element("code", {}, shortened(cell.text)), " ", mark);
		});
		const tag = differs && element("span", { class: "tag differs" }, "differs");
		return element("tr", { class: differs ? "is-different" : undefined }, element("th", { scope: "row" }, name, " ", tag), ...values.filter(Boolean));
	}
}

/** The frame has the whole of a long value. */
function shortened(text) {
	return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;
}

const nothing = (text) => element("span", { class: "nothing" }, text);

/** The short name of a side. */
export function nameOf({ identity, label, name }) {
	return identity?.userId ?? (label || `connection ${name}`);
}

/**
 * The history of the connections: reconnects, recoveries, gaps, refusals.
 */
import { badge, byId, element, oncePerPicture, timeOf } from "./dom.js";

const MAX_LINES = 200;
/** The kind of a line, for those who cannot see its colour. */
const SIGNS = { good: "✓", problem: "✕", step: "→", drop: "↯" };

/** Shows the histories of links as one, newest first. */
export class TimelineView {
	#links;
	#draw = oncePerPicture(() => this.#drawNow());

	/** @param {import("./link.js").Link[]} links */
	constructor(links) {
		this.#links = links;
		for (const link of links) link.addEventListener("happened", () => this.#draw());
	}

	#drawNow() {
		const lines = this.#links.flatMap(({ history }) => history).sort((one, other) => other.time - one.time);
		byId("timeline").replaceChildren(...lines.slice(0, MAX_LINES).map(lineOf));
		byId("no-timeline").hidden = lines.length > 0;
	}
}

function lineOf({ time, side, kind, text }) {
	const sign = element("span", { class: "sign", "aria-hidden": "true" }, SIGNS[kind]);
	return element("li", { "data-kind": kind }, element("time", {}, timeOf(time)), badge(side), sign, element("span", {}, text));
}

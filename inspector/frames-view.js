/**
 * The frames in transit, live: they can be paused, searched, and copied as JSON.
 */
import { badge, byId, copy, element, oncePerPicture, tell, timeOf } from "./dom.js";
import { VirtualList } from "./virtual-list.js";

const ARROWS = { in: ["↓", "received"], out: ["↑", "sent"], none: ["·", ""] };

/** Shows a journal, and sends typed frames. */
export class FramesView {
	#journal;
	#list;
	#shown = [];
	#wanted = { side: "", kind: "", text: "" };
	/** The last frame that is shown while paused. */
	#pausedAt;
	#missed = 0;
	#draw = oncePerPicture(() => this.#drawNow());

	/**
	 * @param {import("./journal.js").Journal} journal
	 * @param {import("./link.js").Link[]} links
	 */
	constructor(journal, links) {
		this.#journal = journal;
		byId("frame-send").addEventListener("submit", (event) => send(event, links));
		this.#list = new VirtualList(byId("frames"), rowOf);
		this.#list.addEventListener("selected", ({ detail }) => this.#showDetail(detail));
		this.#list.addEventListener("followed", () => this.#draw());
		journal.addEventListener("added", ({ detail }) => this.#added(detail.entry));
		journal.addEventListener("trimmed", () => this.#filter());
		byId("frame-filter").addEventListener("input", () => this.#filter());
		byId("frame-filter").addEventListener("submit", (event) => event.preventDefault());
		byId("pause").addEventListener("click", () => this.#pause());
		byId("follow").addEventListener("click", () => this.#list.follow());
		byId("copy-shown").addEventListener("click", () => this.#copyShown());
		byId("copy-frame").addEventListener("click", () => this.#copyFrame());
		byId("clear-frames").addEventListener("click", () => journal.clear());
		byId("frames").addEventListener("keydown", (event) => this.#pressed(event));
		this.#filter();
	}

	#added(entry) {
		if (this.#pausedAt !== undefined) this.#missed += 1;
		else if (this.#matches(entry)) this.#shown.push(entry);
		this.#draw();
	}

	#filter() {
		const { side, kind, text } = Object.fromEntries(new FormData(byId("frame-filter")));
		this.#wanted = { side, kind, text: text.trim().toLowerCase() };
		const isInTime = ({ sequence }) => this.#pausedAt === undefined || sequence <= this.#pausedAt;
		this.#shown = this.#journal.entries.filter((entry) => isInTime(entry) && this.#matches(entry));
		if (this.#journal.entries.length === 0) this.#missed = 0;
		this.#draw();
	}

	#matches(entry) {
		const { side, kind, text } = this.#wanted;
		if (side !== "" && entry.side !== side) return false;
		if (kind === "" ? entry.kind === "heartbeat" : kind !== "all" && entry.kind !== kind) return false;
		return text === "" || entry.text.toLowerCase().includes(text);
	}

	#pause() {
		const isPaused = this.#pausedAt === undefined;
		this.#pausedAt = isPaused ? (this.#journal.entries.at(-1)?.sequence ?? 0) : undefined;
		this.#missed = 0;
		byId("pause").dataset.paused = isPaused;
		this.#filter();
	}

	#drawNow() {
		const isPaused = this.#pausedAt !== undefined;
		this.#list.show(this.#shown);
		byId("pause").textContent = isPaused ? `Resume (${this.#missed} new)` : "Pause";
		byId("follow").hidden = this.#list.follows || this.#shown.length === 0;
		byId("frame-count").textContent = `${this.#shown.length} of ${this.#journal.entries.length} frames`;
		byId("no-frames").hidden = this.#shown.length > 0;
		byId("copy-shown").disabled = this.#shown.length === 0;
	}

	#showDetail({ side, direction, time, text, sequence, type }) {
		byId("frame-title").textContent = `#${sequence} ${type}`;
		const about = `${ARROWS[direction][1]} ${timeOf(time)} · ${text.length} characters`;
		byId("frame-about").replaceChildren(badge(side), ` ${about}`);
		byId("frame-json").textContent = pretty(text);
		byId("frame-detail").hidden = false;
	}

	#copyFrame() {
		const { selected } = this.#list;
		if (selected) void copy(selected.text, "the frame");
		else tell("Select a frame first.");
	}

	#copyShown() {
		void copy(this.#shown.map(({ text }) => text).join("\n"), `${this.#shown.length} frames, one a line`);
	}

	#pressed(event) {
		if (event.key !== "c" || event.ctrlKey || event.metaKey || event.altKey) return;
		event.preventDefault();
		this.#copyFrame();
	}
}

/** Sends a frame as typed, so that this page can send anything that a protocol has. */
function send(event, links) {
	event.preventDefault();
	const { text, side } = Object.fromEntries(new FormData(event.target));
	const problem = byId("frame-send-problem");
	try {
		links.find(({ name }) => name === side).sendFrame(text);
		problem.textContent = "";
	} catch (error) {
		problem.textContent = error instanceof SyntaxError ? `No JSON: ${error.message}` : error.message;
	}
}

function rowOf({ side, direction, time, type, kind, summary, offset }) {
	const [arrow, meaning] = ARROWS[direction];
	return element(
		"div",
		{ class: "frame", "data-kind": kind },
		element("time", {}, timeOf(time)),
		badge(side),
		element("span", { class: "arrow", "aria-label": meaning || undefined, role: meaning ? "img" : undefined }, arrow),
		element("span", { class: "type" }, type),
		element("span", { class: "summary" }, summary),
		element("span", { class: "offset" }, offset === undefined ? "" : `@${offset}`),
	);
}

function pretty(text) {
	try {
		return JSON.stringify(JSON.parse(text), null, 2);
	} catch {
		return text;
	}
}

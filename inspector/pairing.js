/**
 * The same event as received by two connections.
 */
import { maskedPaths } from "./masking.js";

/** How many events are kept for comparison. */
const MAX_EVENTS = 200;
/** Within how many milliseconds the same event may arrive in a protocol without offsets. */
const MAX_DELAY = 5_000;

/**
 * An event.
 *
 * @typedef {{key: string, what: string, title: string, offset: number | undefined, time: number, frames: Map<string, object>}} Pair
 */

/** Matches what one side received with what the other received. */
export class Pairing {
	/** Newest last. @type {Map<string, Pair>} */
	pairs = new Map();
	#last = 0;

	/** Adds what a side received, and returns the event. */
	add(side, organizationId, frame) {
		const what = [organizationId, frame.type, nameOf(frame), frame.topic].join(" ");
		const pair = this.#waitingFor(side, what, frame) ?? this.#begin(what, frame);
		pair.offset ??= frame.offset;
		pair.frames.set(side, frame);
		return pair;
	}

	/**
	 * The event that this side has just received: found by its offset, or, without offsets, the oldest of the most
	 * similar ones.
	 */
	#waitingFor(side, what, frame) {
		const { offset } = frame;
		const waiting = [...this.pairs.values()].filter((pair) => pair.what === what && !pair.frames.has(side));
		const known = waiting.find((pair) => offset !== undefined && pair.offset === offset);
		if (known) return known;
		const since = Date.now() - MAX_DELAY;
		const unknown = waiting.filter((pair) => (offset === undefined || pair.offset === undefined) && pair.time >= since);
		const ranked = unknown.map((pair) => ({ pair, alike: likeness(frame, pair.frames.values().next().value) })).filter(({ alike }) => alike > 0);
		return ranked.sort((one, other) => other.alike - one.alike)[0]?.pair;
	}

	#begin(what, frame) {
		const key = String((this.#last += 1));
		const pair = { key, what, title: nameOf(frame), topic: frame.topic, offset: frame.offset, time: Date.now(), frames: new Map() };
		this.pairs.set(key, pair);
		if (this.pairs.size > MAX_EVENTS) this.pairs.delete(this.pairs.keys().next().value);
		return pair;
	}

	clear() {
		this.pairs.clear();
	}
}

/** How similar two frames are, from 0 to 1; masks let some columns differ. */
function likeness(frame, other) {
	const [cells, others] = [cellsOf(frame), cellsOf(other)];
	const shared = [...cells.keys()].filter((name) => others.has(name));
	const same = shared.filter((name) => cells.get(name).text === others.get(name).text);
	return shared.length > 0 ? same.length / shared.length : Number(cells.size === others.size);
}

const nameOf = (frame) => (frame.type === "broadcast" ? frame.event : `${frame.schema}.${frame.table}`);

/**
 * Compares, column by column.
 *
 * @param {(object | undefined)[]} frames what each side got
 * @returns {{name: string, differs: boolean, cells: ({text: string, isMasked: boolean} | undefined)[]}[]} a cell is
 *   `undefined` where the side was not sent the column
 */
export function compare(frames) {
	const sides = frames.map((frame) => (frame ? cellsOf(frame) : undefined));
	const received = sides.filter(Boolean);
	const names = [...new Set(received.flatMap((cells) => [...cells.keys()]))];
	return names.map((name) => ({
		name,
		differs: new Set(received.map((cells) => cells.get(name)?.text)).size > 1,
		cells: sides.map((cells) => cells?.get(name)),
	}));
}

/** A frame's content, by column; an update's as `before → after` if they differ. */
function cellsOf(frame) {
	if (frame.type === "postgres_changes") {
		const names = Object.keys({ ...frame.old, ...frame.new });
		return new Map(names.map((name) => [name, cell([frame.old, frame.new].filter((row) => row && name in row).map((row) => row[name]))]));
	}
	const { payload } = frame;
	const isObject = payload !== null && typeof payload === "object" && !Array.isArray(payload);
	return new Map(Object.entries(isObject ? payload : { payload }).map(([name, value]) => [name, cell([value])]));
}

function cell(values) {
	const texts = new Set(values.map((value) => JSON.stringify(value)));
	return { text: [...texts].join(" → "), isMasked: values.some((value) => maskedPaths(value).length > 0) };
}

/**
 * The same event as two connections got it.
 */
import { maskedPaths } from "./masking.js";

/** How many events are kept for comparison. */
const MAX_EVENTS = 200;

/**
 * An event.
 *
 * @typedef {{key: string, title: string, offset: number | undefined, time: number, frames: Map<string, object>}} Pair
 */

/** Puts what one side got beside what the other got. */
export class Pairing {
	/** Newest last. @type {Map<string, Pair>} */
	pairs = new Map();

	/** Adds what a side got, and gives the event that it is. */
	add(side, organizationId, frame) {
		// What is not kept has no offset of its own, hence the count.
		const same = [organizationId, frame.offset, frame.type, nameOf(frame), frame.topic].join(" ");
		let count = 0;
		while (this.pairs.get(`${same} ${count}`)?.frames.has(side)) count += 1;
		const key = `${same} ${count}`;
		let pair = this.pairs.get(key);
		if (!pair) {
			pair = { key, title: nameOf(frame), topic: frame.topic, offset: frame.offset, time: Date.now(), frames: new Map() };
			this.pairs.set(key, pair);
			if (this.pairs.size > MAX_EVENTS) this.pairs.delete(this.pairs.keys().next().value);
		}
		pair.frames.set(side, frame);
		return pair;
	}

	clear() {
		this.pairs.clear();
	}
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

/** What a frame says, by column: an update's as `before → after` where they differ. */
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

/**
 * Fan-out: what a delivered frame costs workerd, at every number of sockets, on both sides.
 */
import { startBoth } from "./sides.mjs";
import { figure, median } from "./table.mjs";
import { againstBare, bytesOfFrame, costs, inTurns } from "./turns.mjs";

/** Of the cost at the smallest number of sockets. */
const MAX_RATIO = 1.1;

/** @param {{sockets: number[], rounds: number, frames: number}} options */
export async function fanOut({ sockets, ...options }) {
	const series = await inTurns(startBoth, sockets, options);
	const compared = sockets.map((size) => againstBare("CPU per frame", series, size));
	return [...compared, ...scaled(series, sockets), bytesOfFrame("bytes of a frame", series)];
}

function scaled(series, [smallest, ...larger]) {
	return larger.map((size) => {
		const scale = (side) => {
			const least = costs(series, side, smallest);
			return median(costs(series, side, size).map((cost, turn) => cost / least[turn]));
		};
		const name = `CPU per frame, ${size} over ${smallest} sockets`;
		return figure(name, "times", scale("worker"), { bare: scale("bare object"), most: MAX_RATIO });
	});
}

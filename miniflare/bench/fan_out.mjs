/**
 * Fan-out: what a delivered frame costs workerd, at every number of sockets, on both sides.
 */
import { Fleet } from "./fleet.mjs";
import { startBoth } from "./sides.mjs";
import { comparison, figure, median } from "./table.mjs";

/** Of the bare object's cost. */
const MOST_OF_BARE = 1.05;
/** Of the cost at the smallest number of sockets. */
const MOST_OF_SMALLEST = 1.1;

/**
 * Both sides hold the sockets of every size all the time and take turns, so what else the machine does falls on all alike.
 *
 * @param {{sockets: number[], rounds: number, frames: number}} options `frames` are those of one measurement
 */
export async function fanOut({ sockets, rounds, frames }) {
	const total = sockets.reduce((sum, size) => sum + size, 0);
	const fleet = new Fleet(2 * total);
	const sides = await startBoth();
	try {
		const series = [];
		for (const size of sockets) {
			for (const side of sides) {
				const group = await fleet.open(side, `org_${size}`, size);
				series.push({ side, group, publications: Math.ceil(frames / size), costs: [] });
			}
		}
		// The first round warms up: V8 compiles what is called often, and the kernel's buffers grow.
		for (let round = 0; round <= rounds; round += 1) {
			// Back and forth, so that what changes slowly falls on all alike as well.
			for (const { side, group, publications, costs } of round % 2 === 0 ? series : series.toReversed()) {
				const cost = await costOfFrame(side, group, publications);
				if (round > 0) costs.push(cost);
			}
		}
		return rows(series, sockets);
	} finally {
		fleet.dispose();
		await Promise.all(sides.map((side) => side.dispose()));
	}
}

/** Microseconds of workerd's CPU per frame. Each publication has reached everyone before the next: nothing piles up. */
async function costOfFrame(side, group, publications) {
	const before = side.cpu();
	for (let count = 0; count < publications; count += 1) {
		const delivered = await side.publish(group.organizationId);
		if (delivered !== group.size) throw new Error(`${side.name}: ${delivered} of ${group.size} frames were sent`);
		await group.received();
	}
	return (side.cpu() - before) / (publications * group.size);
}

function rows(series, sockets) {
	const costs = (name, size) => series.find(({ side, group }) => side.name === name && group.size === size).costs;
	const compared = sockets.map((size) =>
		comparison(`CPU per frame, ${size} sockets`, "µs", costs("worker", size), costs("bare object", size), MOST_OF_BARE),
	);
	const [smallest, ...larger] = sockets;
	const scaled = larger.map((size) => {
		const scale = (name) => median(costs(name, size).map((cost, round) => cost / costs(name, smallest)[round]));
		const name = `CPU per frame, ${size} over ${smallest} sockets`;
		return figure(name, "times", scale("worker"), { bare: scale("bare object"), most: MOST_OF_SMALLEST });
	});
	const bytes = (name) => series.find(({ side }) => side.name === name).group.bytesPerFrame();
	return [...compared, ...scaled, figure("bytes of a frame", "B", bytes("worker"), { bare: bytes("bare object") })];
}

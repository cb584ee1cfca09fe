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
/** After how many frames the next one has its turn: what else the machine does changes within a second. */
const FRAMES_OF_A_TURN = 10_000;
/** V8 goes on compiling for hundreds of publications, in threads of its own. */
const WARM_UP = { organizationId: "org_warm_up", sockets: 3, publications: 1_000 };

/**
 * Both sides hold the sockets of every size all the time and take turns, so what else the machine does falls on all alike.
 *
 * @param {{sockets: number[], rounds: number, frames: number}} options each side sends `rounds` times `frames` of each size
 */
export async function fanOut({ sockets, rounds, frames }) {
	const total = sockets.reduce((sum, size) => sum + size, 0);
	const fleet = new Fleet(2 * total);
	const sides = await startBoth();
	const turns = Math.ceil((rounds * frames) / FRAMES_OF_A_TURN);
	try {
		for (const side of sides) await warmUp(side, fleet);
		const series = [];
		for (const size of sockets) {
			for (const side of sides) {
				const group = await fleet.open(side, `org_${size}`, size);
				series.push({ side, group, publications: Math.ceil(FRAMES_OF_A_TURN / size), costs: [] });
			}
		}
		// The first turn warms up as well: the kernel's buffers grow.
		for (let turn = 0; turn <= turns; turn += 1) {
			// Back and forth, so that what changes slowly falls on all alike as well.
			for (const { side, group, publications, costs } of turn % 2 === 0 ? series : series.toReversed()) {
				const cost = await costOfFrame(side, group, publications);
				if (turn > 0) costs.push(cost);
			}
		}
		return rows(series, sockets);
	} finally {
		fleet.dispose();
		await Promise.all(sides.map((side) => side.dispose()));
	}
}

async function warmUp(side, fleet) {
	const group = await fleet.open(side, WARM_UP.organizationId, WARM_UP.sockets);
	await costOfFrame(side, group, WARM_UP.publications);
}

/** Microseconds of workerd's CPU per frame. Each publication has reached everyone before the next: nothing piles up. */
export async function costOfFrame(side, group, publications) {
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
		const scale = (name) => median(costs(name, size).map((cost, turn) => cost / costs(name, smallest)[turn]));
		const name = `CPU per frame, ${size} over ${smallest} sockets`;
		return figure(name, "times", scale("worker"), { bare: scale("bare object"), most: MOST_OF_SMALLEST });
	});
	const bytes = (name) => series.find(({ side }) => side.name === name).group.bytesPerFrame();
	return [...compared, ...scaled, figure("bytes of a frame", "B", bytes("worker"), { bare: bytes("bare object") })];
}

/**
 * What a delivered frame costs workerd, on sides that take turns.
 */
import { Fleet } from "./fleet.mjs";
import { comparison, figure } from "./table.mjs";

/** Of the bare object's cost. */
const MOST_OF_BARE = 1.05;
/** After how many frames the next one has its turn: what else the machine does changes within a second. */
const FRAMES_OF_A_TURN = 10_000;
/** V8 goes on compiling for hundreds of publications, in threads of its own. */
const WARM_UP = { organizationId: "org_warm_up", sockets: 3, publications: 1_000 };

/**
 * All sides hold the sockets of every size all the time and take turns, so what else the machine does falls on all alike.
 * Gives, for each size and side, its group of sockets and the microseconds of workerd's CPU per frame in each turn.
 *
 * @param {{rounds: number, frames: number}} options each side sends `rounds` times `frames` of each size
 */
export async function inTurns(sides, sizes, { rounds, frames }) {
	const total = sizes.reduce((sum, size) => sum + size, 0);
	const fleet = new Fleet(sides.length * total);
	const turns = Math.ceil((rounds * frames) / FRAMES_OF_A_TURN);
	try {
		for (const side of sides) await warmUp(side, fleet);
		const series = [];
		for (const size of sizes) {
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
		return series;
	} finally {
		fleet.dispose();
	}
}

/** What a side's frames cost with so many sockets, in each turn. */
export function costs(series, name, size) {
	return series.find(({ side, group }) => side.name === name && group.size === size).costs;
}

/** The Worker's cost against the bare object's. */
export function againstBare(name, series, size) {
	const [worker, bare] = ["worker", "bare object"].map((side) => costs(series, side, size));
	return comparison(`${name}, ${size} sockets`, "µs", worker, bare, MOST_OF_BARE);
}

/** Both send frames of one length, but for the digits of a message's number. */
export function bytesOfFrame(name, series) {
	const [worker, bare] = ["worker", "bare object"].map((name) =>
		series.find(({ side }) => side.name === name).group.bytesPerFrame(),
	);
	return figure(name, "B", worker, { bare });
}

async function warmUp(side, fleet) {
	const group = await fleet.open(side, WARM_UP.organizationId, WARM_UP.sockets);
	await costOfFrame(side, group, WARM_UP.publications);
}

/** Each publication has reached everyone before the next: nothing piles up. */
async function costOfFrame(side, group, publications) {
	const before = side.cpu();
	for (let count = 0; count < publications; count += 1) {
		const delivered = await side.publish(group.organizationId);
		if (delivered !== group.size) throw new Error(`${side.name}: ${delivered} of ${group.size} frames were sent`);
		await group.received();
	}
	return (side.cpu() - before) / (publications * group.size);
}

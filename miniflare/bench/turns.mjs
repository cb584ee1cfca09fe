/**
 * What a delivered frame costs workerd, on sides that take turns.
 */
import { Fleet } from "./fleet.mjs";
import { comparison, figure } from "./table.mjs";

/** Of the bare object's cost. */
const MAX_RATIO = 1.05;
/** Frames of each series in a turn: what else the machine does changes within a second. */
const FRAMES_OF_A_TURN = 10_000;
/** How often each has its place within a turn: before its other side and after it. */
const PLACES = 2;
/** Where in memory a process happens to lie makes a percent or two, for as long as it runs. */
const STARTS = 3;
/** V8 goes on compiling for hundreds of publications, in threads of its own. */
const WARM_UP = { organizationId: "org_warm_up", sockets: 3, publications: 1_000 };

/**
 * The sides are started several times. Gives for each start, size and side its group of sockets and, of each turn, the
 * microseconds of workerd's CPU per frame.
 *
 * @param {() => Promise<object[]>} start the sides
 * @param {{rounds: number, frames: number}} options each side sends `rounds` times `frames` of each size
 */
export async function inTurns(start, sizes, { rounds, frames }) {
	const turns = Math.ceil((rounds * frames) / FRAMES_OF_A_TURN / STARTS);
	const series = [];
	for (let count = 0; count < STARTS; count += 1) {
		const sides = await start();
		const fleet = new Fleet(sides.length * sizes.reduce((sum, size) => sum + size, 0));
		try {
			for (const side of sides) await warmUp(side, fleet);
			const opened = await open(fleet, sides, sizes);
			await take(turns, sizes, opened);
			series.push(...opened);
		} finally {
			fleet.dispose();
			await Promise.all(sides.map((side) => side.dispose()));
		}
	}
	return series;
}

/** What a side's frames cost with so many sockets, in each turn. */
export function costs(series, name, size) {
	return series.filter(({ side, group }) => side.name === name && group.size === size).flatMap(({ costs }) => costs);
}

/** The Worker's cost against the bare object's, or that of another side. */
export function againstBare(name, series, size, other = "bare object") {
	const [worker, bare] = ["worker", other].map((side) => costs(series, side, size));
	return comparison(`${name}, ${size} sockets`, "µs", worker, bare, MAX_RATIO);
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
	await costOfFrame({ side, group, publications: WARM_UP.publications });
}

/** All sides hold the sockets of every size all the time, so what else the machine does falls on all alike. */
async function open(fleet, sides, sizes) {
	const opened = [];
	for (const size of sizes) {
		for (const side of sides) {
			const group = await fleet.open(side, `org_${size}`, size);
			opened.push({ side, group, publications: Math.ceil(FRAMES_OF_A_TURN / PLACES / size), costs: [] });
		}
	}
	return opened;
}

/**
 * Who comes after whom makes some percent, so the sides change their places within a turn: what one has before it and after
 * it the other has as well.
 */
async function take(turns, sizes, series) {
	const ofSizes = sizes.map((size) => series.filter(({ group }) => group.size === size));
	const schedule = [...ofSizes.flat(), ...ofSizes.flatMap((sides) => sides.toReversed())];
	// The first turn warms up as well: the kernel's buffers grow.
	for (let turn = 0; turn <= turns; turn += 1) {
		const means = new Map(series.map((one) => [one, 0]));
		for (const one of schedule) means.set(one, means.get(one) + (await costOfFrame(one)) / PLACES);
		if (turn > 0) for (const [{ costs }, mean] of means) costs.push(mean);
	}
}

/** Each publication has reached everyone before the next: nothing piles up. */
async function costOfFrame({ side, group, publications }) {
	const before = side.cpu();
	for (let count = 0; count < publications; count += 1) {
		const delivered = await side.publish(group.organizationId);
		if (delivered !== group.size) throw new Error(`${side.name}: ${delivered} of ${group.size} frames were sent`);
		await group.received();
	}
	return (side.cpu() - before) / (publications * group.size);
}

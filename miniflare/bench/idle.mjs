/**
 * Idle connections: what opening one costs workerd, and the memory that it then holds.
 */
import { Fleet } from "./fleet.mjs";
import { startBoth } from "./sides.mjs";
import { comparison } from "./table.mjs";

/** The first ones fill what grows in steps, such as V8's heap; the memory of the others is counted. */
const FIRST = 1_000;
export const IDLE_SOCKETS = 5_000;

export async function idle() {
	const fleet = new Fleet(2 * IDLE_SOCKETS);
	const sides = await startBoth();
	try {
		const [worker, bare] = [await open(fleet, sides[0]), await open(fleet, sides[1])];
		return [
			comparison("memory per idle connection", "KB", [worker.kilobytes], [bare.kilobytes]),
			comparison("CPU per opened connection", "µs", [worker.cpu], [bare.cpu]),
		];
	} finally {
		fleet.dispose();
		await Promise.all(sides.map((side) => side.dispose()));
	}
}

async function open(fleet, side) {
	await fleet.open(side, "org_idle", FIRST);
	const before = { memory: side.memory(), cpu: side.cpu() };
	const counted = IDLE_SOCKETS - FIRST;
	await fleet.open(side, "org_idle", counted);
	return {
		kilobytes: (side.memory() - before.memory) / counted / 1024,
		cpu: (side.cpu() - before.cpu) / counted,
	};
}

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
	const fleet = new Fleet(3 * IDLE_SOCKETS);
	const sides = await startBoth();
	const greeting = { ...sides[1], target: sides[1].greeted, greetings: 1 };
	try {
		const [worker, bare] = [await open(fleet, sides[0], "org_idle"), await open(fleet, sides[1], "org_idle")];
		const greeted = await open(fleet, greeting, "org_greeted");
		return [
			comparison("memory per idle connection", "KB", [worker.kilobytes], [bare.kilobytes]),
			comparison("CPU per opened connection", "µs", [worker.cpu], [bare.cpu]),
			comparison("… against a bare object that verifies its token, greets it and logs", "µs", [worker.cpu], [greeted.cpu]),
		];
	} finally {
		fleet.dispose();
		await Promise.all(sides.map((side) => side.dispose()));
	}
}

async function open(fleet, side, organizationId) {
	await fleet.open(side, organizationId, FIRST);
	const before = { memory: side.memory(), cpu: side.cpu() };
	const counted = IDLE_SOCKETS - FIRST;
	await fleet.open(side, organizationId, counted);
	return {
		kilobytes: (side.memory() - before.memory) / counted / 1024,
		cpu: (side.cpu() - before.cpu) / counted,
	};
}

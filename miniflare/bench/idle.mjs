/**
 * Idle connections: what opening one costs workerd, and the memory that it then holds.
 */
import { Fleet } from "./fleet.mjs";
import { startBoth } from "./sides.mjs";
import { comparison } from "./table.mjs";

/** The first ones fill what grows in steps, such as V8's heap, and warm up; the others are counted. */
const FIRST = 1_000;
/** Connections that a side opens in a turn: what else the machine does changes within a second. */
const CONNECTIONS_OF_A_TURN = 200;
const TURNS = 20;
export const IDLE_SOCKETS = FIRST + TURNS * CONNECTIONS_OF_A_TURN;
/** Of the cost at a bare object. */
const MAX_RATIO = 1.3;

export async function idle() {
	const fleet = new Fleet(3 * IDLE_SOCKETS);
	const started = await startBoth();
	const [worker, bare] = started;
	const sides = [
		{ side: worker, organizationId: "org_idle" },
		{ side: bare, organizationId: "org_idle" },
		{ side: { ...bare, target: bare.greeted, greetings: 1 }, organizationId: "org_greeted" },
	];
	try {
		for (const { side, organizationId } of sides) await fleet.open(side, organizationId, FIRST);
		const [ofWorker, ofBare, ofGreeted] = await inTurns(fleet, sides);
		return [
			comparison("memory per idle connection", "KB", [mean(ofWorker.kilobytes)], [mean(ofBare.kilobytes)]),
			comparison("CPU per opened connection", "µs", ofWorker.cpu, ofBare.cpu, MAX_RATIO),
			comparison("… against a bare object that verifies its token, greets it and logs", "µs", ofWorker.cpu, ofGreeted.cpu, MAX_RATIO),
		];
	} finally {
		fleet.dispose();
		await Promise.all(started.map((side) => side.dispose()));
	}
}

/** Per side, the memory and the CPU time of a connection in each turn; every other turn goes backwards. */
async function inTurns(fleet, sides) {
	const measured = sides.map(() => ({ kilobytes: [], cpu: [] }));
	const places = sides.map((_, place) => place);
	for (let turn = 0; turn < TURNS; turn += 1) {
		for (const place of turn % 2 === 0 ? places : places.toReversed()) {
			const { kilobytes, cpu } = await open(fleet, sides[place]);
			measured[place].kilobytes.push(kilobytes);
			measured[place].cpu.push(cpu);
		}
	}
	return measured;
}

async function open(fleet, { side, organizationId }) {
	const before = { memory: side.memory(), cpu: side.cpu() };
	await fleet.open(side, organizationId, CONNECTIONS_OF_A_TURN);
	return {
		kilobytes: (side.memory() - before.memory) / CONNECTIONS_OF_A_TURN / 1024,
		cpu: (side.cpu() - before.cpu) / CONNECTIONS_OF_A_TURN,
	};
}

function mean(values) {
	return values.reduce((sum, value) => sum + value, 0) / values.length;
}

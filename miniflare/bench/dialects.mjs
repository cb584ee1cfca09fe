/**
 * Clients of Butterbase and of Fluxbase: fan-out against the bare object, and what a heartbeat to all sockets of an app costs.
 */
import { connect } from "../client.mjs";
import { Fleet } from "./fleet.mjs";
import { startBare, startWorker } from "./sides.mjs";
import { figure, median } from "./table.mjs";
import { againstBare, bytesOfFrame, inTurns } from "./turns.mjs";

export const DIALECT_SOCKETS = 1_000;
/** The only organization of Fluxbase's clients. */
const ORGANIZATION = `org_${DIALECT_SOCKETS}`;
/** The side that keeps what it sends. */
const KEEPING = "bare object that keeps it";
/** Publications before the measurement: V8 goes on compiling for hundreds, and what warms up elsewhere is native frames. */
const WARM_UP = 1_000;
/** Heartbeats that are measured; they come every half minute. */
const BEATS = 3;
const MAX_WAIT = 45_000;
const REALTIME = {
	heartbeats: false,
	tables: { employees: {} },
	butterbase: {
		access: "public",
		listeners: -1,
		tables: ["*"],
		public: ["*"],
		apps: { [ORGANIZATION]: {}, org_warm_up: {} },
	},
	fluxbase: { organization: ORGANIZATION },
};

/** How a socket of each dialect is opened, and how many frames greet it. */
const DIALECTS = {
	butterbase: {
		greetings: 2,
		target: (worker, organizationId) => ({
			url: `${origin(worker)}/v1/${organizationId}/realtime`,
			headers: {},
			hello: JSON.stringify({ type: "subscribe", table: "employees" }),
		}),
	},
	fluxbase: {
		greetings: 1,
		/** Native ones warm up: they are greeted by one frame as well, and are of any organization. */
		target: (worker, organizationId, index) => (organizationId === ORGANIZATION ? fluxbase(worker, index) : worker.target(organizationId, index)),
	},
};

/** @param {{rounds: number, frames: number}} options */
export async function dialects(options) {
	const rows = [];
	for (const dialect of Object.keys(DIALECTS)) {
		const series = await inTurns(() => startAll(dialect), [DIALECT_SOCKETS], options);
		rows.push(
			againstBare(`${dialect}, CPU per frame`, series, DIALECT_SOCKETS),
			againstBare("… against a bare object that keeps it too", series, DIALECT_SOCKETS, KEEPING),
			bytesOfFrame(`${dialect}, bytes of a frame`, series),
		);
	}
	return [...rows, await heartbeat()];
}

function origin(worker) {
	return new URL(worker.session(ORGANIZATION, 0).url).origin;
}

function fluxbase(worker, index) {
	const { token } = worker.session(ORGANIZATION, index);
	return {
		url: `${origin(worker)}/realtime?token=${token}`,
		headers: {},
		hello: JSON.stringify({ type: "subscribe", config: { table: "employees" } }),
	};
}

async function startSide(dialect, realtime) {
	const worker = await startWorker({ ...REALTIME, ...realtime });
	const { greetings, target } = DIALECTS[dialect];
	return { ...worker, greetings, target: (organizationId, index) => target(worker, organizationId, index) };
}

/**
 * The Worker, and bare objects with a frame of the Worker's: one that keeps nothing, and one that keeps it, as the Worker does.
 * What a publication costs beside its frames is divided among them, and most of it is the keeping.
 */
async function startAll(dialect) {
	const side = await startSide(dialect);
	const bare = await startBare(await frameOf(side));
	return [side, bare, keeping(bare)];
}

/** Another object of the bare one's process, which ends with that. */
function keeping(bare) {
	const own = (organizationId) => `${organizationId}_kept`;
	return {
		...bare,
		name: KEEPING,
		target: (organizationId) => bare.target(own(organizationId)),
		publish: (organizationId) => bare.publishKept(own(organizationId)),
		dispose: async () => {},
	};
}

/** The frame as a client gets it, once this dialect's code is warm. */
async function frameOf(side) {
	const { url, hello } = side.target(ORGANIZATION, 0);
	const client = await connect(url);
	client.send(hello);
	for (let greeting = 0; greeting < side.greetings; greeting += 1) await client.next();
	let frame;
	for (let count = 0; count < WARM_UP; count += 1) {
		await side.publish(ORGANIZATION);
		frame = await client.next();
	}
	await client.close();
	return JSON.stringify(frame);
}

/** One wake of the object, which sends a frame to every socket. */
async function heartbeat() {
	const side = await startSide("butterbase", { heartbeats: true });
	const fleet = new Fleet(DIALECT_SOCKETS);
	try {
		// Right after a beat: none comes while sockets are being opened.
		const first = await connect(side.target(ORGANIZATION, 0).url);
		await first.next(({ type }) => type === "heartbeat", MAX_WAIT);
		const group = await fleet.open(side, ORGANIZATION, DIALECT_SOCKETS);
		const costs = [];
		for (let beat = 0; beat < BEATS; beat += 1) {
			const before = side.cpu();
			await group.received();
			costs.push((side.cpu() - before) / DIALECT_SOCKETS);
		}
		return figure(`heartbeat to ${DIALECT_SOCKETS} sockets, CPU per frame with half a minute's idling`, "µs", median(costs));
	} finally {
		fleet.dispose();
		await side.dispose();
	}
}

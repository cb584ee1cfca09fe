/**
 * Clients of Supabase: fan-out of text and bytes against the bare object, joins, and presence of many in one topic.
 */
import { connect } from "../client.mjs";
import { startBare, startSupabase } from "./sides.mjs";
import { figure } from "./table.mjs";
import { againstBare, bytesOfFrame, inTurns } from "./turns.mjs";

export const SUPABASE_SOCKETS = 1_000;
const CHANNELS = 100;
const MEMBERS = 200;
const NOTE = "a note of the benchmark ".repeat(8);
const KINDS = {
	text: { payload: { note: NOTE } },
	binary: { payload: Buffer.from(NOTE).toString("base64"), encoding: "base64" },
};

/** @param {{rounds: number, frames: number}} options */
export async function supabase(options) {
	const fanOuts = [];
	for (const kind of Object.keys(KINDS)) fanOuts.push(...(await fanOut(kind, options)));
	const worker = await startSupabase();
	try {
		return [...fanOuts, ...(await joins(worker)), ...(await presence(worker))];
	} finally {
		await worker.dispose();
	}
}

function joining(topic, config = { presence: { enabled: false } }) {
	return JSON.stringify(["1", "1", `realtime:${topic}`, "phx_join", { config: { private: false, ...config } }]);
}

const isReply = (frame) => frame[3] === "phx_reply";
const isDifference = (frame) => frame[3] === "presence_diff";

async function fanOut(kind, options) {
	const series = await inTurns(() => startBoth(kind), [SUPABASE_SOCKETS], options);
	return [
		againstBare(`Supabase, CPU per ${kind} frame`, series, SUPABASE_SOCKETS),
		bytesOfFrame(`Supabase, bytes of a ${kind} frame`, series),
	];
}

/** Both sides, the bare object with a frame of the Worker's. */
async function startBoth(kind) {
	const event = { type: "broadcast", topic: "room", private: false, event: "note", ...KINDS[kind] };
	const worker = await startSupabase();
	const side = {
		...worker,
		greetings: 1,
		target: (organizationId) => ({ url: worker.address(organizationId), headers: {}, hello: joining("room") }),
		publish: (organizationId) => worker.publishEvent({ ...event, organizationId }),
	};
	return [side, await startBare(await frameOf(side, "org_probe"))];
}

/** The frame as a client gets it, as it came. */
async function frameOf(side, organizationId) {
	const { url, hello } = side.target(organizationId);
	const client = await connect(url);
	client.send(hello);
	await client.next(isReply);
	await side.publish(organizationId);
	const frame = await client.next();
	await client.close();
	return Buffer.isBuffer(frame) ? frame : JSON.stringify(frame);
}

async function joins(worker) {
	const open = () => connect(worker.address("org_joins"));
	const clients = [];
	for (let count = 0; count < SUPABASE_SOCKETS; count += 1) clients.push(await open());
	const started = performance.now();
	await Promise.all(clients.map((client) => (client.send(joining("room")), client.next(isReply))));
	const apart = SUPABASE_SOCKETS / ((performance.now() - started) / 1e3);
	const one = await open();
	const begun = performance.now();
	for (let channel = 0; channel < CHANNELS; channel += 1) one.send(joining(`room-${channel}`));
	for (let channel = 0; channel < CHANNELS; channel += 1) await one.next(isReply);
	const together = CHANNELS / ((performance.now() - begun) / 1e3);
	await Promise.all([one, ...clients].map((client) => client.close()));
	return [
		figure(`Supabase, joins of ${SUPABASE_SOCKETS} sockets`, "/s", apart),
		figure(`Supabase, joins of ${CHANNELS} channels of a socket`, "/s", together),
	];
}

async function presence(worker) {
	const clients = [];
	for (let member = 0; member < MEMBERS; member += 1) {
		const client = await connect(worker.address("org_presence"));
		client.send(joining("lobby", { presence: { enabled: true, key: `member-${member}` } }));
		await client.next(isReply);
		clients.push(client);
	}
	const rows = [];
	for (const event of ["track", "untrack"]) {
		const before = differences(clients);
		const started = performance.now();
		for (const client of clients) {
			client.send(["1", event, "realtime:lobby", "presence", { type: "presence", event, payload: { at: "desk" } }]);
			await Promise.all(clients.map((other) => other.next(isDifference)));
		}
		const [frames, milliseconds] = [differences(clients) - before, performance.now() - started];
		if (frames !== MEMBERS * MEMBERS) throw new Error(`${event}: ${frames} differences instead of ${MEMBERS * MEMBERS}`);
		rows.push(figure(`Supabase, ${MEMBERS} members ${event}: differences`, "frames", frames));
		rows.push(figure(`Supabase, ${MEMBERS} members ${event}: time`, "ms", milliseconds));
	}
	await Promise.all(clients.map((client) => client.close()));
	return rows;
}

function differences(clients) {
	return clients.reduce((sum, { frames }) => sum + frames.filter(isDifference).length, 0);
}

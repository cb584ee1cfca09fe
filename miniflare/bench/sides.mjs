/**
 * The two sides of every comparison, each in a workerd of its own, started in the same way and spoken to in the same way.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect } from "../client.mjs";
import { startServer } from "../server.mjs";
import { signToken } from "../token.mjs";
import { cpuTime, residentMemory, workerdChildren } from "./cpu.mjs";
import { heapOf } from "./isolate.mjs";

const PUBLICATION = JSON.parse(readFileSync(new URL("publication.json", import.meta.url), "utf8"));
const ROLES = ["admin", "hr", "member"];
/** Characters of what the Worker attaches to a socket without subscriptions. */
const ATTACHED = 200;
const ACCESS_TOKEN = "the access token of the benchmark";
const HEADERS = { "content-type": "application/json", authorization: `Bearer ${ACCESS_TOKEN}` };
const JWT_SECRET = "a secret of the benchmark, of 32 bytes at least";
/** A day ahead: no token expires while it is measured. */
const EXPIRY = Math.floor(Date.now() / 1000) + 86_400;

/** The Worker, with more of `REALTIME` where given, and more of `startServer`'s options. Its sockets hold one of three roles, in turn. */
export async function startWorker(realtime, more) {
	// As many connections and publications as are asked for: limits are not what is measured.
	const limits = { connections: 1_000_000, anonymousPerAddress: 1_000_000, userlessPerAddress: 1_000_000, publicationsPerSecond: 1_000_000 };
	const vars = { ACCESS_TOKEN, JWT_SECRET, REALTIME: { limits, ...realtime } };
	const { url, ...side } = await start({ vars, ...more });
	const session = (organizationId, index) => ({
		url: `${url}/realtime/v1/websocket?organizationId=${organizationId}`,
		...sessionOf(organizationId, index),
	});
	return {
		...side,
		name: "worker",
		/** Frames that a socket gets when it has been opened. */
		greetings: 1,
		/** What the `index`th socket of an organization is opened with. */
		target(organizationId, index) {
			const { url, token } = session(organizationId, index);
			return { url, headers: { authorization: `Bearer ${token}` } };
		},
		/** The address of the `index`th socket and its token, for a first frame that asks for more. */
		session,
		publishEvent: (event) => post(`${url}/broadcast`, JSON.stringify(event)),
		/** What a process of its own publishes with. */
		publishing: () => ({ url: `${url}/broadcast`, headers: HEADERS }),
		publish: (organizationId) => post(`${url}/broadcast`, JSON.stringify({ ...PUBLICATION, organizationId })),
		/** The same, and it is not kept. */
		publishUnkept: (organizationId) => post(`${url}/broadcast`, JSON.stringify({ ...PUBLICATION, organizationId, history: false })),
		/** The same publication so many times in one request. */
		publishMany(organizationId, count) {
			const { organizationId: _, ...event } = PUBLICATION;
			return post(`${url}/broadcast`, JSON.stringify({ organizationId, messages: Array(count).fill(event) }));
		},
		wake: (organizationId) => wake(url, organizationId),
	};
}

/** The bare object, which is given the frame that it sends. */
export async function startBare(frame, more) {
	const worker = {
		modulesRoot: fileURLToPath(new URL(".", import.meta.url)),
		modules: [{ type: "ESModule", path: fileURLToPath(new URL("bare.mjs", import.meta.url)) }],
		durableObjects: { BARE: { className: "Bare", useSQLite: true } },
		bindings: { JWT_SECRET },
	};
	const { url, ...side } = await start({ worker, ...more });
	const type = typeof frame === "string" ? undefined : "application/octet-stream";
	return {
		...side,
		name: "bare object",
		greetings: 0,
		target: (organizationId) => ({ url: `${url}/?organizationId=${organizationId}`, headers: {} }),
		publishing: (organizationId) => ({ url: `${url}/?organizationId=${organizationId}`, headers: HEADERS }),
		/** One that has as much attached to it as a socket of the Worker's. */
		attached: (organizationId) => ({ url: `${url}/?organizationId=${organizationId}&attach=${"x".repeat(ATTACHED)}`, headers: {} }),
		/** One whose token is verified, that is greeted, and whose opening is logged: what the Worker does beside attaching. */
		greeted(organizationId, index) {
			const { url, headers } = this.attached(organizationId);
			return { url: `${url}&greet`, headers: { ...headers, authorization: `Bearer ${sessionOf(organizationId, index).token}` } };
		},
		/** Wakes an object where it sleeps, and has it list its sockets with what is attached to each. */
		wake: async (organizationId) => (await fetch(`${url}/?organizationId=${organizationId}&list`)).json(),
		publish: (organizationId) => post(`${url}/?organizationId=${organizationId}`, frame, type),
		publishKept: (organizationId) => post(`${url}/?organizationId=${organizationId}&keep`, frame, type),
	};
}

/** Both, the bare object with a frame of the Worker's. */
export async function startBoth() {
	const worker = await startWorker();
	return [worker, await startBare(await frameOf(worker))];
}

/** What a holder of each role gets: different bytes, and as many of them, so that one can stand for all. */
async function frameOf(worker) {
	const organizationId = "org_probe";
	const targets = ROLES.map((_, index) => worker.target(organizationId, index));
	const clients = await Promise.all(targets.map(({ url, headers }) => connect(url, { headers })));
	await Promise.all(clients.map((client) => client.next()));
	await worker.publish(organizationId);
	const frames = await Promise.all(clients.map(async (client) => JSON.stringify(await client.next())));
	await Promise.all(clients.map((client) => client.close()));
	if (new Set(frames).size !== ROLES.length || new Set(frames.map(Buffer.byteLength)).size !== 1) {
		throw new Error(`three different frames of one length were expected:\n${frames.join("\n")}`);
	}
	return frames[0];
}

/** Another server with the Worker's rules, in a Node of its own. */
export async function startNode(kind) {
	const script = fileURLToPath(new URL("peers/node.mjs", import.meta.url));
	const child = fork(script, [kind], { env: { ...process.env, JWT_SECRET } });
	const [port] = await once(child, "message");
	return peer(kind, `http://127.0.0.1:${port}`, { ...measures(child.pid), dispose: () => child.kill() });
}

/** PartyServer with the Worker's rules, bundled by `bundle`. */
export async function startParty(script) {
	const worker = {
		modulesRoot: "/bundle",
		modules: [{ type: "ESModule", path: "/bundle/party.mjs", contents: script }],
		durableObjects: { Room: { className: "Room", useSQLite: true } },
		bindings: { JWT_SECRET },
	};
	const { url, ...side } = await start({ worker });
	return peer("partyserver", url, side);
}

/** A peer speaks the Worker's frames, behind socket.io's own greeting where it is that. */
function peer(name, url, side) {
	const isEngine = name === "socket.io";
	const path = isEngine ? "/socket.io/?EIO=4&transport=websocket&" : name === "partyserver" ? "/parties/room/any?" : "/?";
	return {
		...side,
		name,
		greetings: isEngine ? 2 : 1,
		target(organizationId, index) {
			const { token } = sessionOf(organizationId, index);
			// socket.io's client asks for its namespace once the transport stands.
			return { url: `${url}${path}organizationId=${organizationId}`, headers: { authorization: `Bearer ${token}` }, ...(isEngine && { hello: "40" }) };
		},
		publish: (organizationId) => post(`${url}/?organizationId=${organizationId}`, JSON.stringify(PUBLICATION)),
	};
}

/** Wakes an organization's object where it sleeps, and has it send nothing. */
async function wake(url, organizationId) {
	const headers = { authorization: `Bearer ${ACCESS_TOKEN}` };
	const response = await fetch(`${url}/realtime/v1/stats?organizationId=${organizationId}`, { headers });
	return response.json();
}

function sessionOf(organizationId, index) {
	const claims = { sub: `usr_${index}`, role: ROLES[index % ROLES.length], organizationId, exp: EXPIRY };
	return { token: signToken(claims, JWT_SECRET) };
}

function measures(pid) {
	return { cpu: () => cpuTime(pid), memory: () => residentMemory(pid) };
}

/** The Worker for clients of Supabase: the address of a socket, and publishing any event. */
export async function startSupabase(more) {
	const limits = { connections: 1_000_000, userlessPerAddress: 1_000_000, pending: 1_000_000, publicationsPerSecond: 1_000_000 };
	const { url, ...side } = await start({ vars: { ACCESS_TOKEN, JWT_SECRET, REALTIME: { limits } }, ...more });
	const key = (ref) => signToken({ role: "anon", ref, exp: EXPIRY }, JWT_SECRET);
	return {
		...side,
		name: "worker",
		wake: (organizationId) => wake(url, organizationId),
		address: (organizationId) => `${url}/realtime/v1/websocket?apikey=${key(organizationId)}&vsn=2.0.0`,
		publishEvent: (event) => post(`${url}/broadcast`, JSON.stringify(event)),
	};
}

async function start(options) {
	const before = new Set(workerdChildren());
	const started = performance.now();
	const server = await startServer({ ...options, onLog: complain });
	const health = await fetch(`${server.url}/health`);
	if (!health.ok) throw new Error(`/health answered ${health.status}`);
	await health.body.cancel();
	const startMilliseconds = performance.now() - started;
	const pid = workerdChildren().find((child) => !before.has(child));
	return {
		url: server.url,
		/** From nothing to the first answer: what passed, and what workerd's CPU did, in milliseconds. */
		startUp: { milliseconds: startMilliseconds, cpuMilliseconds: cpuTime(pid) / 1e3 },
		/** The CPU time of its workerd in microseconds, and its memory in bytes. */
		...measures(pid),
		/** Puts an organization's object to sleep, whose sockets stay open. */
		hibernate: (organizationId) => server.evict(organizationId, "hibernate"),
		/** The V8 heap of its isolate, in bytes. */
		heap: async () => heapOf(await server.mf.getInspectorURL()),
		dispose: server.dispose,
	};
}

/** Publishes, and gives the number of frames that were handed to sockets. */
async function post(url, body, type = "application/json") {
	const headers = { ...HEADERS, "content-type": type };
	const response = await fetch(url, { method: "POST", headers, body });
	const text = await response.text();
	if (response.status !== 202) throw new Error(`publishing was answered ${response.status}: ${text}`);
	return JSON.parse(text).delivered;
}

function complain({ level, message }) {
	if (level === "error" || level === "warn") console.error(message);
}

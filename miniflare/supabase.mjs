/**
 * The clients of Supabase against the Worker: each version that docs/protocol-supabase.md names, as npm has it, and the people that use
 * them in the specs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { JWT_SECRET, join, now, publish, start, stats, tokenOf } from "./fixture.mjs";
import { Inbox, Socket, sockets } from "./supabase_socket.mjs";
import { signToken } from "./token.mjs";

const require = createRequire(import.meta.url);
const { version: newest } = require("@supabase/supabase-js/package.json");

/** The columns of the matrix: what a client is called there, its package, and the protocol that it speaks. */
export const CLIENTS = [
	{ name: "2.10.7", module: "realtime-2.10.7", vsn: "1.0.0" },
	{ name: "2.11.2", module: "realtime-2.11.2", vsn: "1.0.0" },
	{ name: "2.15.1", module: "realtime-2.15.1", vsn: "1.0.0" },
	{ name: "2.97.0", module: "realtime-2.97.0", vsn: "2.0.0" },
	{ name: "2.119.0", module: "realtime-2.119.0", vsn: "2.0.0" },
	{ name: "2.119.0, vsn 1.0.0", module: "realtime-2.119.0", vsn: "1.0.0" },
	{ name: `supabase-js ${newest}`, module: "@supabase/supabase-js", vsn: "2.0.0" },
];
/**
 * The oldest, which receives JSON objects, and the newest, which receives arrays and binary frames; others communicate
 * with these.
 */
export const [OLD, RECENT] = [CLIENTS[0], CLIENTS[4]];

/**
 * The deployment of these specs: members talk in rooms, admins announce, topics are kept, salaries are for some.
 *
 * @param {object} [realtime] `REALTIME`, over the channels and tables below
 * @param {object} [options] of `startServer`
 */
export function startSupabase(realtime = {}, options) {
	const member = { roles: ["member"] };
	const channels = [
		{ topic: "room:*", read: member, write: member, presence: member },
		{ topic: "news:*", read: {}, write: { roles: ["admin"] } },
		{ topic: "kept:*", read: {}, write: {}, history: true },
	];
	const tables = {
		people: { masking: { ssn: { type: "ssn", show: { roles: ["hr"], or: "owner" } } } },
		staff: { requiredRoles: ["admin"] },
	};
	return start({ channels, tables, ...realtime }, options);
}

/** A project's anon key, for `apikey`. */
export function anonKey(organizationId, claims) {
	return signToken({ role: "anon", ref: organizationId, exp: now() + 3_600, ...claims }, JWT_SECRET);
}

let tenants = 0;
let people = 0;

/**
 * Runs a script with a deployment of its own, which it may deploy anew: every object and every socket is gone then, the
 * storage stays.
 *
 * @param {object} client of {@link CLIENTS}
 * @param {(tenant: Tenant, redeploy: () => Promise<void>) => Promise<void>} body
 */
export async function withDeploys(client, body) {
	const persist = mkdtempSync(path.join(tmpdir(), "realtime-worker-"));
	let server = await startSupabase({}, { persist });
	const port = Number(new URL(server.url).port);
	const tenant = new Tenant(server, client);
	const redeploy = async () => {
		await server.dispose();
		server = await startSupabase({}, { persist, port });
		tenant.moveTo(server);
	};
	try {
		await body(tenant, redeploy);
	} finally {
		await tenant.close();
		await server.dispose();
		rmSync(persist, { recursive: true });
	}
}

/** One organization, which nobody else uses, and the people of it. */
export class Tenant {
	organizationId = `org-${process.pid}-${(tenants += 1)}`;
	#server;
	#client;
	#people = [];

	/** @param {object} server @param {object} [client] of {@link CLIENTS}: whose behaviour it is about */
	constructor(server, client = RECENT) {
		this.#server = server;
		this.#client = client;
	}

	/**
	 * Someone with a Supabase client; a member unless `roles` says otherwise. `roles: null`: anonymous, with the anon
	 * key.
	 */
	person(user, options = {}) {
		const person = new Person(this.#server, { client: this.#client, organizationId: this.organizationId, user, ...options });
		this.#people.push(person);
		return person;
	}

	/** Someone with a native client. */
	async native(user, roles = ["member"], options = {}) {
		const client = await join(this.#server, user, roles, { organizationId: this.organizationId, ...options });
		this.#people.push(client);
		return client;
	}

	/** Publishes as the API worker does. */
	publish(event) {
		return publish(this.#server, { organizationId: this.organizationId, ...event });
	}

	/** Publishes a message to a topic, a public one unless `more` says otherwise. */
	say(topic, event, payload, more = {}) {
		return this.publish({ type: "broadcast", topic, private: false, event, payload, ...more });
	}

	/** Publishes a change. */
	change(eventType, table, row, more = {}) {
		return this.publish({ type: "postgres_changes", table, eventType, [eventType === "DELETE" ? "old" : "new"]: row, ...more });
	}

	/** Evicts the object; its sockets stay. */
	hibernate() {
		return this.#server.evict(this.organizationId, "hibernate");
	}

	/** Continues at another server, which is the first one deployed anew. */
	moveTo(server) {
		this.#server = server;
	}

	stats() {
		return stats(this.#server, this.organizationId);
	}

	close() {
		return Promise.all(this.#people.map((person) => person.close()));
	}
}

/** Someone with a Supabase client. */
class Person {
	/** The client, as its package creates it. */
	client;
	/** Its realtime half: itself, unless it is supabase-js. */
	realtime;
	/** Resolves when the client knows the person's token. */
	ready;
	/** The address of the project. */
	url;
	/** The project's key, which a claim of its own distinguishes from everyone else's. */
	key;
	#token;
	#sign;
	/** Whether the client asks for its token, whatever token it is given. */
	#asks;

	/**
	 * @param {object} server
	 * @param {{client: object, organizationId: string, user: string, roles?: string[] | null, claims?: object, key?: string,
	 *   callback?: boolean, realtime?: object}} options `callback`: the client asks for its token, as supabase-js always does
	 */
	constructor(server, { client, organizationId, user, roles = ["member"], claims, key, callback = false, realtime }) {
		people += 1;
		this.key = key ?? anonKey(organizationId, { jti: `key-${people}` });
		this.url = server.url;
		this.#sign = (more) => tokenOf(user, roles ?? [], { organizationId, role: roles?.[0], jti: `token-${(people += 1)}`, ...claims, ...more });
		this.#token = roles ? this.#sign() : null;
		this.#asks = callback || client.module === "@supabase/supabase-js";
		// Clients before 2.119 send a join without a reference if they retry before the last one is answered.
		const reconnectAfterMs = () => 500;
		const options = { params: { apikey: this.key }, vsn: client.vsn, reconnectAfterMs, logger: () => {}, ...realtime };
		if (client.module === "@supabase/supabase-js") this.#createSupabase(options);
		else this.#createRealtime(client, options);
	}

	#createSupabase(options) {
		const { createClient } = require("@supabase/supabase-js");
		this.client = createClient(this.url, this.key, {
			accessToken: async () => this.#token,
			auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
			realtime: options,
		});
		this.realtime = this.client.realtime;
		this.ready = this.realtime.setAuth();
	}

	#createRealtime({ module }, options) {
		const { RealtimeClient } = require(module);
		const accessToken = this.#asks ? { accessToken: async () => this.#token } : {};
		this.client = this.realtime = new RealtimeClient(`${this.url.replace("http", "ws")}/realtime/v1`, { ...options, ...accessToken });
		this.ready = Promise.resolve(this.#token && this.setAuth(this.#token));
	}

	/** A channel. `on` are its handlers: `[type, filter]` each, or `[type, filter, name]`; all broadcasts unless given. */
	room(topic, { config = {}, on = [["broadcast", { event: "*" }]] } = {}) {
		return new Room(this, this.client.channel(topic, { config }), on);
	}

	/** Every socket that the client has opened so far. */
	get sockets() {
		return sockets.filter(({ url }) => new URL(url).searchParams.get("apikey") === this.key);
	}

	/** The current one. */
	get socket() {
		return this.sockets.at(-1);
	}

	/** See {@link Socket.sync}. */
	sync() {
		return this.socket.sync();
	}

	/** The heartbeat that the client sends every 25 or 30 seconds. */
	async heartbeat() {
		const { realtime } = this;
		await (realtime.sendHeartbeat ?? realtime._sendHeartbeat).call(realtime);
	}

	/** Provides a fresh token with other claims, for when the client asks. */
	renew(claims) {
		this.#token = this.#sign(claims);
	}

	/** Sets a fresh token with other claims, which the client sends to its channels. */
	async refresh(claims) {
		this.renew(claims);
		await this.setAuth(this.#token);
		await this.sync();
	}

	/** The same with any token. */
	async setAuth(token) {
		this.#token = token;
		await this.realtime.setAuth(this.#asks ? undefined : token);
	}

	async close() {
		await this.ready;
		const open = this.sockets.filter(({ readyState }) => readyState < Socket.CLOSING);
		// Otherwise they would keep reconnecting.
		for (const channel of this.realtime.getChannels()) channel.unsubscribe();
		this.realtime.disconnect();
		for (const socket of open) socket.close();
		await Promise.all(open.map(({ closed }) => closed));
	}
}

/** A channel, and the arguments of its handlers and its status callback. */
class Room {
	/** `{handler, payload}` each. */
	events = new Inbox();
	/** `{status, error}` each. */
	statuses = new Inbox();
	/** The channel, as its package creates it. */
	channel;
	#person;

	constructor(person, channel, handlers) {
		this.#person = person;
		this.channel = channel;
		for (const [type, filter, name = type] of handlers) {
			channel.on(type, filter, (payload) => this.events.push({ handler: name, payload }));
		}
	}

	/** Subscribes and returns the first status. */
	async subscribe() {
		await this.#person.ready;
		this.channel.subscribe((status, error) => this.statuses.push({ status, error }));
		return this.statuses.next();
	}

	/** Subscribes, which must succeed. */
	async join() {
		const { status, error } = await this.subscribe();
		if (status !== "SUBSCRIBED") throw new Error(`${status}: ${error?.message ?? error}`);
		return this;
	}

	/** Waits until it is subscribed again. */
	async rejoined() {
		await this.statuses.next(({ status }) => status === "SUBSCRIBED");
	}

	leave() {
		return this.channel.unsubscribe();
	}

	/** Sends a broadcast and returns the client's result. */
	send(event, payload) {
		return this.channel.send({ type: "broadcast", event, payload });
	}

	/** The next argument of a handler. */
	next(isWanted) {
		return this.events.next(isWanted);
	}

	/** The next broadcast: its event and its payload. */
	async heard() {
		const { payload } = await this.events.next(({ handler }) => handler === "broadcast");
		return [payload.event, payload.payload];
	}

	/** Everything that the server has sent so far and that was not read. */
	async unread() {
		await this.#person.sync();
		return this.events.unread();
	}

	/** The members: for each key, the metadata of its presences. */
	presence() {
		const entries = Object.entries(this.channel.presenceState());
		return Object.fromEntries(entries.map(([key, metas]) => [key, metas.map(({ presence_ref: _, ...meta }) => meta)]));
	}

	/** Waits until exactly these are present. */
	async shows(expected) {
		const isThere = () => JSON.stringify(sorted(this.presence())) === JSON.stringify(sorted(expected));
		await this.events.until(isThere).catch(() => assert.deepEqual(this.presence(), expected));
	}
}

/** An object with its keys sorted, recursively. */
function sorted(value) {
	if (value === null || typeof value !== "object") return value;
	if (Array.isArray(value)) return value.map((one) => JSON.stringify(sorted(one))).sort();
	return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** Clients without binary frames. */
export const isOldProtocol = ({ vsn }) => vsn === "1.0.0";

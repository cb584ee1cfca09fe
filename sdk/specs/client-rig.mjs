/**
 * Shared by the client's specs: the Worker and its configuration, tokens, a publisher, and a connection that can be
 * cut.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after } from "node:test";
import { startServer } from "../../miniflare/server.mjs";
import { signToken } from "../../miniflare/token.mjs";
import { browser, createClient } from "../src/client/index.ts";

const ACCESS_TOKEN = "access-token-of-the-specs-0123456789";
const JWT_SECRET = "secret-of-the-specs-that-signs-sessions";
export const ORGANIZATION = "org_1";
export const API_KEY = "key_of_the_specs";

/** How long a spec waits for an event; only a failing one waits that long. */
const PATIENCE = 30_000;

/** The Worker's variables; `realtime` is added to its `REALTIME`. */
export function variables(realtime = {}) {
	return {
		ACCESS_TOKEN,
		JWT_SECRET,
		API_KEYS: JSON.stringify([
			{ name: "specs", hash: createHash("sha256").update(API_KEY).digest("hex"), organizationId: ORGANIZATION, roles: ["service"] },
		]),
		REALTIME: {
			tables: { payroll: { requiredRoles: ["admin"] } },
			channels: [{ topic: "room:*", read: {}, write: { roles: ["member"] }, presence: {} }],
			limits: { publicationsPerSecond: 1_000_000 },
			...realtime,
		},
	};
}

/** A session token; it lasts an hour unless the claims say otherwise. */
export function token(claims = {}) {
	const seconds = Math.floor(Date.now() / 1000);
	return signToken({ sub: "u1", roles: ["member"], organizationId: ORGANIZATION, iat: seconds, exp: seconds + 3600, ...claims }, JWT_SECRET);
}

/** Publishes events, and returns the Worker's answer. */
export async function publish(url, ...messages) {
	const response = await fetch(`${url}/broadcast`, {
		method: "POST",
		headers: { authorization: `Bearer ${ACCESS_TOKEN}`, "content-type": "application/json" },
		body: JSON.stringify({ organizationId: ORGANIZATION, messages }),
	});
	const answer = await response.json();
	assert.equal(response.status, 202, JSON.stringify(answer));
	return answer;
}

/** The statistics of the organization. */
export async function stats(url) {
	const response = await fetch(`${url}/realtime/v1/stats?organizationId=${ORGANIZATION}`, { headers: { authorization: `Bearer ${ACCESS_TOKEN}` } });
	return response.json();
}

/** An inserted row. */
export const insert = (table, row, rest = {}) => ({ type: "postgres_changes", table, eventType: "INSERT", new: row, ...rest });

/** A changed row. */
export const update = (table, row, old, rest = {}) => ({ type: "postgres_changes", table, eventType: "UPDATE", new: row, old, ...rest });

/** A deleted row. */
export const remove = (table, old, rest = {}) => ({ type: "postgres_changes", table, eventType: "DELETE", old, ...rest });

/** A broadcast. */
export const broadcast = (event, payload, rest = {}) => ({ type: "broadcast", event, payload, ...rest });

/** A client that reconnects quickly. */
export function client(url, options = {}) {
	const tokens = options.token || options.getToken ? {} : { getToken: () => token() };
	return createClient(url, { organizationId: ORGANIZATION, backoff: { base: 5, max: 50 }, ...tokens, ...options });
}

/** The Worker, for the tests of a file, and clients of it that are closed when their test ends. */
export async function startRig(realtime) {
	const server = await startServer({ vars: variables(realtime), onLog() {} });
	after(() => server.dispose());
	const open = (t, options) => {
		const opened = client(server.url, options);
		t.after(() => opened.close());
		return opened;
	};
	return { server, open };
}

/** Resolves when `subscribe`, which adds a handler and returns its removal, delivers what matches. */
export async function next(subscribe, isWanted = () => true) {
	const { promise, resolve } = Promise.withResolvers();
	const added = subscribe((value) => isWanted(value) && resolve(value));
	try {
		return await within(promise, "the wanted event did not come");
	} finally {
		(added.off ?? added)();
	}
}

/** Resolves when the client is in this state. */
export async function state(client, name) {
	if (client.status.state !== name) await next(client.on.status, ({ state }) => state === name);
	return client.status;
}

/** Ends a client's connection, and resolves when the client has noticed, however fast it reconnects. */
export async function broken(client, act) {
	await state(client, "connected");
	const ends = record();
	const off = client.on.status(ends.handler);
	await act();
	await ends.count(1).finally(off);
}

/** Resolves when a condition holds that nothing announces. */
export async function until(isSo) {
	const { promise, resolve } = Promise.withResolvers();
	let isOver = false;
	const look = () => (isSo() ? resolve() : isOver || setImmediate(look));
	look();
	await within(promise, `it did not come to ${isSo}`).finally(() => (isOver = true));
}

/** A promise that must settle soon. */
export async function within(promise, complaint) {
	const timeout = Promise.withResolvers();
	const timer = setTimeout(() => timeout.reject(new Error(complaint)), PATIENCE);
	try {
		return await Promise.race([promise, timeout.promise]);
	} finally {
		clearTimeout(timer);
	}
}

/** Everything a handler was called with, and a way to wait for more. */
export function record() {
	const all = [];
	const waiting = new Set();
	const handler = (value) => {
		all.push(value);
		for (const check of waiting) check();
	};
	const count = (wanted) => {
		const { promise, resolve } = Promise.withResolvers();
		const check = () => all.length >= wanted && resolve(all);
		waiting.add(check);
		check();
		return within(promise, `${wanted} calls did not come, but ${all.length}`).finally(() => waiting.delete(check));
	};
	return { all, handler, count };
}

/** The global WebSocket, which records every frame of both directions. */
export function recordingSocket() {
	const sent = [];
	const received = [];
	class Recorder extends WebSocket {
		constructor(url) {
			super(url);
			this.addEventListener("message", ({ data }) => received.push(JSON.parse(data)));
		}
		send(text) {
			sent.push(JSON.parse(text));
			super.send(text);
		}
	}
	return { WebSocket: Recorder, sent, received };
}

/** An environment whose clock stands still, whose timers run on demand, and whose network is scripted. */
export function fakeSurroundings() {
	const timers = new Set();
	const watchers = new Set();
	const world = { ...browser(), time: Date.now(), online: true };
	return Object.assign(world, {
		timers,
		now: () => world.time,
		random: () => 1,
		isOnline: () => world.online,
		after(milliseconds, callback) {
			const timer = { at: world.time + milliseconds, callback };
			timers.add(timer);
			return () => timers.delete(timer);
		},
		watch(callback) {
			watchers.add(callback);
			return () => watchers.delete(callback);
		},
		/** Advances time, with what is due in it. */
		pass(milliseconds) {
			const end = world.time + milliseconds;
			for (;;) {
				const due = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
				if (!due) break;
				timers.delete(due);
				world.time = Math.max(world.time, due.at);
				due.callback();
			}
			world.time = end;
		},
		/** The network or the page changes. */
		tell(news) {
			world.online = news === "visible" ? world.online : news === "online";
			for (const watcher of watchers) watcher(news);
		},
	});
}

/** A TCP proxy: a connection to the Worker that can be cut or frozen. */
export async function startWire(target) {
	const { hostname, port } = new URL(target);
	const pairs = new Set();
	const wire = { isFrozen: false, port };
	let opening = Promise.resolve();
	const proxy = createServer(async (near) => {
		near.on("error", () => {});
		await opening;
		// A client that has given up meanwhile needs no connection.
		if (near.destroyed) return;
		const far = connect(Number(wire.port), hostname);
		const pair = { near, far };
		pairs.add(pair);
		const pass = (from, to) => {
			from.on("data", (data) => wire.isFrozen || to.write(data));
			from.on("error", () => {});
			from.on("close", () => {
				pairs.delete(pair);
				if (!wire.isFrozen) to.destroy();
			});
		};
		pass(near, far);
		pass(far, near);
	});
	proxy.listen(0, "127.0.0.1");
	await once(proxy, "listening");
	const cut = () => {
		for (const { near, far } of pairs) for (const end of [near, far]) end.destroy();
	};
	return Object.assign(wire, {
		url: `http://127.0.0.1:${proxy.address().port}`,
		/** Breaks every connection: 1006. */
		cut,
		/** Stops forwarding anything, silently. */
		freeze: () => (wire.isFrozen = true),
		thaw: () => (wire.isFrozen = false),
		/** Refuses connections while something is done. */
		async closedFor(act) {
			const { promise, resolve } = Promise.withResolvers();
			opening = promise;
			await act().finally(resolve);
		},
		close: () => {
			cut();
			proxy.close();
		},
	});
}

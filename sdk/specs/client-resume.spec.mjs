/**
 * Nothing lost, nothing duplicated, all in order: 10,000 events, while sockets break, objects hibernate and crash, and
 * the Worker is deployed anew.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startServer } from "../../miniflare/server.mjs";
import { broadcast, client, insert, next, ORGANIZATION, publish, record, startWire, state, variables } from "./client-rig.mjs";

const persist = await mkdtemp(join(tmpdir(), "client-resume-"));
// No replay is refused for its cost: a client that is cut before it has handled anything requests all of it again.
const options = {
	vars: variables({
		history: { count: 20_000, replay: 20_000, replayBytes: 64 * 1024 * 1024 },
		limits: { publicationsPerSecond: 1_000_000, workPerConnection: 1_000_000, workPerUser: 1_000_000, workOfClients: 1_000_000 },
	}),
	persist,
	onLog() {},
};
let server = await startServer(options);
after(async () => {
	await server.dispose();
	await rm(persist, { recursive: true });
});
const wire = await startWire(server.url);
after(() => wire.close());

const EVENTS = 10_000;
const BATCH = 50;
/** The chaos is random, and the same in every run with the same seed. */
const SEED = Number(process.env.SEED ?? 20261121);

/** Publishes in order; an unanswered batch is sent again, with the same ids. */
async function publishSurely(messages) {
	for (let attempt = 0; attempt < 100; attempt += 1) {
		try {
			return await publish(server.url, ...messages);
		} catch (error) {
			if (error.code === "ERR_ASSERTION" && !/overloaded|internal/.test(error.message)) throw error;
		}
	}
	throw new Error("the Worker does not come back");
}

/**
 * The incidents in each quarter of the run, and how often. A deploy ends it, because workerd evicts best before
 * connections were cut.
 */
const SOCKETS = { cut: 20, reconnect: 20 };
const OBJECTS = { crash: 15, hibernate: 15 };
const QUARTERS = [SOCKETS, OBJECTS, SOCKETS, OBJECTS];

/** Incidents for a client. Each waits for a connection, acts on it, and sees it end if it should. */
function chaosOf(one, ends) {
	const chaos = { done: {}, isRefused: false };
	const count = (name) => (chaos.done[name] = (chaos.done[name] ?? 0) + 1);
	const breakBy = async (name, act) => {
		await state(one, "connected");
		const before = ends.all.length;
		if ((await act()) === false) return;
		await ends.count(before + 1);
		count(name);
	};
	/** workerd does not evict an object at which a socket is being opened. */
	const whileClosed = async (act) => {
		let answer;
		await wire.closedFor(async () => (answer = await act()));
		return answer;
	};
	/** Nor one to which a request still refers, and some end late. It reports that after half a minute: once is enough. */
	const evict = async (webSockets) => {
		if (chaos.isRefused) return false;
		await server.evict(ORGANIZATION, webSockets).catch(({ message }) => {
			assert.match(message, /active references/);
			chaos.isRefused = true;
		});
		return !chaos.isRefused;
	};
	return Object.assign(chaos, {
		cut: () => breakBy("cut", () => wire.cut()),
		reconnect: () => breakBy("reconnect", () => (one.close(), one.connect())),
		// The next life begins with a single request: several at once often prevent an object from being evicted.
		crash: () => breakBy("crash", () => whileClosed(() => evict("close"))).then(() => state(one, "connected")),
		redeploy: () => breakBy("redeploy", () => whileClosed(redeploy)).then(() => state(one, "connected")),
		hibernate: () => state(one, "connected").then(() => evict("hibernate")).then((isDone) => isDone && count("hibernate")),
	});
}

async function redeploy() {
	await server.dispose();
	server = await startServer(options);
	wire.port = new URL(server.url).port;
}

/** What follows each batch: the same amount, in an order that the seed decides. */
function plan() {
	const random = mulberry(SEED);
	return QUARTERS.flatMap((actions) => {
		const names = Object.entries(actions).flatMap(([name, times]) => Array(times).fill(name));
		const turns = Array.from({ length: EVENTS / BATCH / QUARTERS.length - 1 }, (_, index) => names[index]);
		const shuffled = turns.map((name) => ({ name, place: random() })).sort((a, b) => a.place - b.place);
		return [...shuffled.map(({ name }) => name), "redeploy"];
	});
}

test(`10,000 events through chaos (seed ${SEED}) are each handled once, in order`, { timeout: 400_000 }, async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const [rows, odd, named, inRoom, gaps, ends] = Array.from({ length: 6 }, record);
	let wasConnected = false;
	one.on.status(({ state }) => {
		if (wasConnected) ends.handler(state);
		wasConnected = state === "connected";
	});
	one.on.gap(gaps.handler);
	await Promise.all([
		one.on("*", "*", rows.handler).ready,
		one.on("steps", "INSERT", odd.handler, { filter: "odd=is.true" }).ready,
		one.topic("room:1").on("step", inRoom.handler).ready,
	]);
	one.on.broadcast("step", named.handler);

	const chaos = chaosOf(one, ends);
	const planned = plan();
	for (const [index, name] of planned.entries()) {
		await publishSurely(Array.from({ length: BATCH }, (_, place) => step(index * BATCH + place)));
		if (name) await chaos[name]();
	}
	const ofKind = (kind) => Array.from({ length: EVENTS }, (_, n) => n).filter((n) => kindOf(n) === kind);
	const [rowNumbers, oddNumbers] = [ofKind("row"), ofKind("row").filter((n) => n % 2 === 1)];
	await Promise.all([
		rows.count(rowNumbers.length),
		odd.count(oddNumbers.length),
		named.count(ofKind("broadcast").length),
		inRoom.count(ofKind("topic").length),
	]);
	t.diagnostic(JSON.stringify({ ...chaos.done, ends: ends.all.length }));
	for (const name of new Set(planned.filter(Boolean))) {
		const times = planned.filter((one) => one === name).length;
		const isExcused = chaos.isRefused && /crash|hibernate/.test(name);
		assert.ok(isExcused || chaos.done[name] === times, `${name}: ${chaos.done[name]} of ${times}`);
	}
	// A barrier: duplicates would have arrived by now.
	const last = next((handler) => one.on.broadcast("last", handler));
	await publish(server.url, broadcast("last", null));
	await last;
	assert.deepEqual(rows.all.map((change) => change.new.n), rowNumbers);
	assert.deepEqual(odd.all.map((change) => change.new.n), oddNumbers);
	assert.deepEqual(named.all.map(({ payload }) => payload), ofKind("broadcast"));
	assert.deepEqual(inRoom.all.map(({ payload }) => payload), ofKind("topic"));
	assert.deepEqual(gaps.all, []);
});

test("what was handled before a handler broke the connection does not come again", async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const heard = record();
	await one.on("breaks", "INSERT", (change) => {
		heard.handler(change.new.n);
		wire.cut();
	}).ready;
	await publish(server.url, ...[1, 2, 3, 4, 5].map((n) => insert("breaks", { n })));
	await heard.count(5);
	await state(one, "connected");
	assert.deepEqual(heard.all, [1, 2, 3, 4, 5]);
});

test("a handler that closes hears what follows after it has connected again, and that only", async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const heard = record();
	await one.on("closes", "INSERT", (change) => {
		heard.handler(change.new.n);
		if (change.new.n === 2) one.close();
	}).ready;
	await publish(server.url, ...[1, 2, 3].map((n) => insert("closes", { n })));
	await state(one, "closed");
	assert.deepEqual(heard.all, [1, 2]);
	one.connect();
	await heard.count(3);
	assert.deepEqual(heard.all, [1, 2, 3]);
});

test("a handler that is new since the connection ended is not handed what came before it", async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const [old, late] = [record(), record()];
	await one.on("old", "INSERT", old.handler).ready;
	one.close();
	await publish(server.url, insert("old", { n: 1 }), insert("late", { n: 1 }));
	const subscription = one.on("late", "INSERT", late.handler);
	one.connect();
	await subscription.ready;
	await publish(server.url, insert("old", { n: 2 }), insert("late", { n: 2 }));
	await Promise.all([old.count(2), late.count(1)]);
	assert.deepEqual(late.all.map((change) => change.new.n), [2]);
});

/** The n-th event of the stream: rows, broadcasts and messages of a topic in turn. */
function step(n) {
	const id = `step-${n}`;
	if (kindOf(n) === "row") return insert("steps", { n, odd: n % 2 === 1 }, { id });
	return broadcast("step", n, kindOf(n) === "topic" ? { id, topic: "room:1" } : { id });
}

function kindOf(n) {
	return ["row", "row", "row", "broadcast", "topic"][n % 5];
}

/** A small random number generator with a seed. */
function mulberry(seed) {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

/**
 * Recovery: a returning client receives everything missed, in order and without duplicates, or is told that this is
 * impossible.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { after, test } from "node:test";
import { insert, join, message, post, publish, start, subscribe, unread } from "../fixture.mjs";

const EVENTS = 3_000;
const limits = { publicationsPerSecond: 1_000_000 };
const tables = { people: { masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } }, unkept: { history: false } };
const server = await start({ limits, tables, history: { replay: 10_000 } });
after(() => server.dispose());
const short = await start({ limits, history: { count: 50, replay: 10, replayBytes: 2_000 } });
after(() => short.dispose());
const scratch = mkdtempSync(path(tmpdir(), "realtime-worker-"));
after(() => rmSync(scratch, { recursive: true }));

/** Repeatable randomness (mulberry32). */
function chance(seed) {
	let state = seed;
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
	};
}

const position = ({ welcome, frames }) => ({
	epoch: welcome.epoch,
	offset: frames.findLast((frame) => frame.offset !== undefined).offset,
});
const payloads = (frames) => frames.map(({ payload }) => payload);

test("offsets come with auth_success and with every event, for those who asked", async () => {
	const options = { organizationId: "org_ask" };
	const plain = await join(server, "plain", [], options);
	const asking = await join(server, "asking", [], { ...options, recover: true });
	assert.deepEqual([asking.welcome.offset, asking.welcome.recovered], [0, undefined]);
	assert.match(asking.welcome.epoch, /^[0-9a-f]{16}$/);
	const receipt = await publish(server, { ...message(1), ...options });
	assert.deepEqual(await asking.next(), { type: "broadcast", event: "note", payload: 1, offset: receipt.offset });
	assert.equal(receipt.epoch, asking.welcome.epoch);
	assert.deepEqual(await plain.next(), { type: "broadcast", event: "note", payload: 1 });
	assert.equal("epoch" in plain.welcome, false);
	await Promise.all([plain.close(), asking.close()]);
});

const interruptions = {
	"a disconnect": async (client) => client.close(),
	"a lost line": async (client) => client.socket.terminate(),
	"a hibernation": async (client, of) => {
		await of.evict("org_1", "hibernate");
		await client.close();
	},
	"a crash of the object": async (client, of) => {
		await of.evict("org_1", "close");
		await client.closed;
	},
};
for (const [what, interrupt] of Object.entries(interruptions)) {
	test(`what is published after ${what} is replayed, then the live events come`, async () => {
		const client = await join(server, "u", ["member"], { recover: true });
		await publish(server, { messages: [message("seen"), message("seen, too")] });
		await unread(client);
		await interrupt(client, server);
		await publish(server, { messages: [message("missed 1"), message("missed 2")] });
		const back = await join(server, "u", ["member"], { recover: position(client) });
		assert.equal(back.welcome.recovered, true);
		await publish(server, message("live"));
		assert.deepEqual(payloads(await unread(back)), ["missed 1", "missed 2", "live"]);
		await back.close();
	});
}

test("a deploy between publication and return loses nothing", async () => {
	const before = await start({}, { persist: scratch });
	const client = await join(before, "u", ["member"], { recover: true });
	await publish(before, message("seen"));
	await unread(client);
	await publish(before, message("missed"));
	const from = { ...position(client), offset: 1 };
	await before.dispose();
	const behind = await start({}, { persist: scratch });
	after(() => behind.dispose());
	const receipt = await publish(behind, message("missed, too"));
	assert.deepEqual([receipt.offset, receipt.epoch], [3, from.epoch]);
	const back = await join(behind, "u", ["member"], { recover: from });
	assert.equal(back.welcome.recovered, true);
	assert.deepEqual(payloads(await unread(back)), ["missed", "missed, too"]);
	await back.close();
});

test("who missed nothing is told so", async () => {
	const client = await join(server, "u", [], { recover: true });
	const { epoch, offset } = client.welcome;
	const back = await join(server, "u", [], { recover: { epoch, offset } });
	assert.deepEqual([back.welcome.recovered, back.welcome.offset], [true, offset]);
	assert.deepEqual(await unread(back), []);
	await Promise.all([client.close(), back.close()]);
});

test("a replay passes the audience, masks and subscriptions of now", async () => {
	const { welcome } = await join(server, "u", ["admin"], { recover: true });
	const recover = { epoch: welcome.epoch, offset: welcome.offset };
	await publish(server, {
		messages: [
			insert("people", { id: 1, ssn: "123-45-6789" }),
			insert("other", { id: 2 }),
			message("admins", { targetRoles: ["admin"] }),
			message("u", { userId: "u" }),
			message("v", { userId: "v" }),
			message("room", { topic: "room:1" }),
			message("news", { topic: "news" }),
			insert("unkept", { id: 3 }),
		],
	});
	const seen = async (roles, subscriptions) => {
		const back = await join(server, "u", roles, { recover, subscriptions });
		assert.equal(back.welcome.recovered, true);
		const frames = await unread(back);
		await back.close();
		return frames.filter(({ offset }) => offset).map((frame) => frame.new?.ssn ?? frame.new?.id ?? frame.payload);
	};
	assert.deepEqual(await seen(["admin"]), ["123-45-6789", 2, "admins", "u"]);
	assert.deepEqual(await seen(["member"]), ["*****6789", 2, "u"]);
	const subscriptions = [{ id: "t", table: "people" }, { id: "r", topic: "room:1" }];
	assert.deepEqual(await seen(["member"], subscriptions), ["*****6789", "u", "room"]);
});

test("a topic can be recovered alone, when it is subscribed to", async () => {
	const client = await join(server, "u", ["member"], { recover: true });
	const { epoch, offset } = client.welcome;
	await publish(server, { messages: [message(1, { topic: "room:9" }), message(2), message(3, { topic: "room:9" })] });
	await unread(client);
	const answer = await subscribe(client, "r", { topic: "room:9", recover: { epoch, offset } });
	assert.deepEqual(answer, { type: "subscribed", id: "r", recovered: true });
	assert.deepEqual(payloads(await unread(client)), [1, 3]);
	await client.close();
});

test("clients' messages are kept where the channel says so", async () => {
	const client = await join(server, "u", ["member"], { recover: true });
	const { epoch, offset } = client.welcome;
	for (const topic of ["kept:1", "room:1"]) client.send({ type: "broadcast", topic, event: "e", payload: topic });
	await unread(client);
	const subscriptions = [{ id: "k", topic: "kept:1" }, { id: "r", topic: "room:1" }];
	const back = await join(server, "u", ["member"], { recover: { epoch, offset }, subscriptions });
	assert.deepEqual(payloads((await unread(back)).filter(({ type }) => type === "broadcast")), ["kept:1"]);
	await Promise.all([client.close(), back.close()]);
});

test("outside the window nothing is replayed", async () => {
	const { welcome } = await join(short, "u", [], { recover: true });
	const recovered = async (offset, epoch = welcome.epoch) => {
		const back = await join(short, "u", [], { recover: { epoch, offset } });
		assert.equal(typeof back.welcome.recovered, "boolean");
		const frames = await unread(back);
		await back.close();
		return back.welcome.recovered ? frames.length : false;
	};
	await publish(short, { messages: Array(10).fill(message("x")) });
	assert.equal(await recovered(0), 10);
	await publish(short, message("x"));
	assert.equal(await recovered(0), false, "more than one replay may hold");
	assert.equal(await recovered(1), 10);
	assert.equal(await recovered(11), 0);
	assert.equal(await recovered(12), false, "an offset of the future");
	assert.equal(await recovered(11, "0123456789abcdef"), false, "another epoch");
	await publish(short, message("x".repeat(3_000)));
	assert.equal(await recovered(11), false, "more bytes than one replay may hold");
	await publish(short, { messages: Array(100).fill(message("x")) });
	await publish(short, { messages: Array(100).fill(message("x")) });
	assert.equal(await recovered(1), false, "trimmed");
	assert.equal(await recovered(202), 10);
});

/** Events for everyone, for some and for topics, marked with their number. */
function events(random, count, first) {
	const audiences = [{}, {}, { targetRoles: ["admin"] }, { userId: "flaky" }, { topic: "room:1" }, { topic: "room:2" }];
	return Array.from({ length: count }, (_, index) => {
		const more = audiences[random(audiences.length)];
		const number = first + index;
		return number % 3 === 0 ? insert("people", { id: number, ssn: "123-45-6789" }, more) : message(number, more);
	});
}

/** One after the other: nobody connects while the server is being replaced. */
let turn = Promise.resolve();
function exclusive(act) {
	const mine = turn.then(act);
	turn = mine.catch(() => {});
	return mine;
}

/** Subscribes, and loses its connection after about every hundred events, until it has received the last one. */
async function listen(at, organizationId, roles, random, { steady = false } = {}) {
	const got = [];
	let connections = 0;
	let recover = { epoch: undefined, offset: 0 };
	for (;;) {
		const subscriptions = [{ id: "t", schema: "*", table: "*" }, { id: "r", topic: "room:1" }];
		const options = { organizationId, subscriptions, recover: recover.epoch ? recover : true };
		const client = await exclusive(() => join(at.server, "flaky", roles, options));
		connections += 1;
		if (recover.epoch) assert.equal(client.welcome.recovered, true);
		recover = { epoch: client.welcome.epoch, offset: recover.epoch ? recover.offset : client.welcome.offset };
		for (let left = steady ? Infinity : 1 + random(200); left > 0; left -= 1) {
			const frame = await client.next(({ offset }) => offset !== undefined, 60_000).catch(() => undefined);
			if (!frame) break;
			got.push(frame);
			recover.offset = frame.offset;
			if (frame.event === "end") {
				await exclusive(() => client.close());
				return { got, connections };
			}
		}
		await exclusive(() => {
			if (random(2)) return client.close();
			client.socket.terminate();
			return client.closed;
		});
	}
}

async function tell(at, organizationId, random, between) {
	for (let first = 0; first < EVENTS; ) {
		const messages = events(random, 1 + random(20), first);
		first += messages.length;
		await publish(at.server, { organizationId, messages });
		if (random(40) === 0) await exclusive(between);
	}
	await publish(at.server, { organizationId, ...message(null), event: "end" });
}

test("a line that is lost again and again brings the same as one that holds", async () => {
	const at = { server };
	const organizationId = "org_lines";
	// Joined before the first event, so all of them begin at offset 0.
	const steady = listen(at, organizationId, ["member"], chance(1), { steady: true });
	const flaky = [2, 3, 4].map((seed) => listen(at, organizationId, ["member"], chance(seed)));
	const admin = listen(at, organizationId, ["admin", "member"], chance(5));
	await exclusive(() => {});
	await tell(at, organizationId, chance(6), () => {});
	const twin = await steady;
	assert.ok(twin.got.length > EVENTS / 3);
	assert.equal(twin.connections, 1);
	for (const { got, connections } of await Promise.all(flaky)) {
		assert.ok(connections > 5);
		assert.deepEqual(got, twin.got);
	}
	const { got } = await admin;
	assert.ok(got.length > twin.got.length);
	assert.ok(got.every((frame) => frame.table !== "people" || frame.new.ssn === "123-45-6789"));
});

test("servers that die lose, double and reorder nothing", async () => {
	const persist = path(scratch, "dying");
	const options = [{ limits, tables, history: { replay: 10_000 } }, { persist }];
	const at = { server: await start(...options) };
	after(() => at.server.dispose());
	const organizationId = "org_dying";
	const listeners = [7, 8, 9].map((seed) => listen(at, organizationId, ["member"], chance(seed), { steady: seed === 7 }));
	await exclusive(() => {});
	const random = chance(10);
	let deaths = 0;
	await tell(at, organizationId, random, async () => {
		deaths += 1;
		await at.server.dispose();
		at.server = await start(...options);
	});
	assert.ok(deaths > 3, `${deaths}`);
	const [first, ...others] = (await Promise.all(listeners)).map(({ got }) => got);
	for (const other of others) assert.deepEqual(other, first);

	const again = chance(10);
	const told = [];
	while (told.length < EVENTS) {
		told.push(...events(again, 1 + again(20), told.length));
		again(40);
	}
	const isMeant = ({ topic, targetRoles }) => !targetRoles && topic !== "room:2";
	const numbers = (frames) => frames.map((frame) => frame.new?.id ?? frame.payload);
	assert.deepEqual(numbers(first).slice(0, -1), numbers(told.filter(isMeant)));
});

test("a publisher that tries again through crashes publishes each event once", async () => {
	const organizationId = "org_retries";
	const client = await join(server, "u", [], { organizationId, recover: true });
	const { epoch, offset } = client.welcome;
	for (let number = 0; number < 30; number += 1) {
		const event = { organizationId, ...message(number, { id: `key-${number}` }) };
		const [first] = await Promise.all([post(server, event), server.evict(organizationId, "close")]);
		if (first.status !== 202) assert.equal(first.status, 503);
		assert.equal((await post(server, event)).status, 202);
	}
	const back = await join(server, "u", [], { organizationId, recover: { epoch, offset } });
	assert.equal(back.welcome.recovered, true);
	assert.deepEqual(payloads(await unread(back)), [...Array(30).keys()]);
	await back.close();
});

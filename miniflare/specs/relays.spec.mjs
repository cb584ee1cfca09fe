/**
 * Relays: an organization whose sockets are spread over several objects. Nobody who is connected can tell.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { insert, join, message, publish, socketUrl, start, stats, subscribe, ticketFor, tokenOf, unread } from "../fixture.mjs";
import { OLD, RECENT, Tenant } from "../supabase.mjs";

const SHARE = 3;
const RELAYS = 3;
const SOCKETS = SHARE * (RELAYS + 1);

const server = await start({ relays: { sockets: SHARE, max: RELAYS } });
after(() => server.dispose());

/** Connects people one after the other, until each object has some. */
async function spread(organizationId, frame = {}) {
	const clients = [];
	while (clients.length < SOCKETS) {
		const number = clients.length;
		const roles = [["admin", "hr", "member"][number % 3], "member"];
		clients.push(await join(server, `user-${number}`, roles, { organizationId, ...frame }));
	}
	const figures = await stats(server, organizationId);
	assert.equal(figures.connections, SOCKETS);
	assert.ok(figures.relays.length >= 2, JSON.stringify(figures.relays));
	return clients;
}

/** Asks for the figures until they are as they should be: relays report what they hand out. */
async function statsWhere(organizationId, isSo) {
	const deadline = Date.now() + 20_000;
	for (;;) {
		const figures = await stats(server, organizationId);
		if (isSo(figures)) return figures;
		assert.ok(Date.now() < deadline, JSON.stringify(figures));
	}
}

test("a publication reaches everyone once and in order, masked for each", async () => {
	const organizationId = "org_masks";
	const clients = await spread(organizationId);
	const maskingConfig = { ssn: { type: "ssn", show: { roles: ["admin"], or: "owner" } } };
	const count = 50;
	for (let id = 0; id < count; id += 1) {
		const row = { id, userId: `user-${id}`, ssn: `123-45-${1000 + id}` };
		const receipt = await publish(server, { organizationId, ...insert("people", row), maskingConfig });
		assert.ok(receipt.deliveredAtLeast >= SHARE, JSON.stringify(receipt));
	}
	for (const [number, client] of clients.entries()) {
		await client.next((frame) => frame.new?.id === count - 1);
		const seen = client.frames.slice(1).map((frame) => frame.new);
		assert.deepEqual(seen.map(({ id }) => id), Array.from({ length: count }, (_, id) => id));
		for (const { id, ssn } of seen) {
			assert.equal(ssn, number % 3 === 0 || number === id ? `123-45-${1000 + id}` : `*****${1000 + id}`);
		}
	}
	const figures = await statsWhere(organizationId, ({ deliveries }) => deliveries === SOCKETS * count);
	assert.deepEqual(figures.relays.map(({ lost }) => lost), figures.relays.map(() => 0));
	await Promise.all(clients.map((client) => client.close()));
});

test("what is said in a topic is heard at every object, and acknowledged to who said it", async () => {
	const organizationId = "org_topics";
	const clients = await spread(organizationId);
	for (const client of clients) assert.equal((await subscribe(client, "s", { topic: "room:1" })).type, "subscribed");
	for (const [number, client] of clients.entries()) {
		client.send({ type: "broadcast", topic: "room:1", event: "said", payload: number, id: `ack-${number}`, echo: false });
		assert.equal((await client.next((frame) => frame.type === "ack")).id, `ack-${number}`);
		for (const other of clients) {
			if (other !== client) assert.equal((await other.next((frame) => frame.event === "said")).payload, number);
		}
	}
	for (const client of clients) client.send({ type: "presence_track", topic: "room:1", metadata: { here: true } });
	for (const client of clients) {
		const seen = new Set();
		while (seen.size < SOCKETS) {
			const frame = await client.next(({ type }) => type?.startsWith("presence"));
			for (const { user_id: user } of frame.clients ?? frame.joins ?? [frame]) seen.add(user);
		}
	}
	const last = clients.pop();
	await last.close();
	for (const client of clients) {
		const left = await client.next(({ type }) => type === "presence_leave");
		assert.equal(left.user_id, `user-${SOCKETS - 1}`);
	}
	await Promise.all(clients.map((client) => client.close()));
});

test("objects that sleep are woken by what concerns them, and nobody can tell", async () => {
	const organizationId = "org_sleep";
	const clients = await spread(organizationId, { recover: true });
	const { relays } = await stats(server, organizationId);
	for (let round = 0; round < 3; round += 1) {
		for (const { relay } of relays) await server.evictRelay(organizationId, relay, "hibernate");
		await server.evict(organizationId, "hibernate");
		await publish(server, { organizationId, ...message(round) });
		for (const client of clients) assert.equal((await client.next((frame) => frame.type === "broadcast")).payload, round);
		assert.equal((await subscribe(clients.at(-1), `s${round}`, { topic: "room:1" })).type, "subscribed");
	}
	await Promise.all(clients.map((client) => client.close()));
});

test("Supabase's clients and native ones talk across objects, and see who is present", async () => {
	const tenant = new Tenant(server);
	const rooms = [];
	const names = [];
	while (rooms.length < SOCKETS - 1) {
		const name = `user-${rooms.length}`;
		const person = tenant.person(name, { client: rooms.length % 2 ? OLD : RECENT });
		const on = [["broadcast", { event: "*" }], ["presence", { event: "sync" }]];
		const room = person.room("lobby", { config: { broadcast: { ack: true }, presence: { key: name } }, on });
		rooms.push(await room.join());
		names.push(name);
	}
	const native = await tenant.native("nat");
	await subscribe(native, "s", { topic: "lobby", private: false });
	const { relays } = await tenant.stats();
	assert.equal(relays.length, RELAYS, JSON.stringify(relays));

	const present = {};
	for (const [number, room] of rooms.entries()) {
		assert.equal(await room.channel.track({ number }), "ok");
		present[names[number]] = [{ number }];
	}
	for (const room of rooms) await room.shows(present);
	for (const { relay } of relays) await server.evictRelay(tenant.organizationId, relay, "hibernate");
	await tenant.hibernate();
	for (const [number, room] of rooms.entries()) {
		assert.equal(await room.send("said", { number }), "ok");
		for (const other of rooms) if (other !== room) assert.deepEqual(await other.heard(), ["said", { number }]);
		assert.deepEqual((await native.next(({ type }) => type === "broadcast")).payload, { number });
	}
	assert.equal(await rooms.at(-1).channel.untrack(), "ok");
	delete present[names.at(-1)];
	for (const room of rooms) await room.shows(present);
	await tenant.close();
});

test("a relay that ends loses nothing of what was retained, and its people have left", async () => {
	const organizationId = "org_crash";
	const clients = await spread(organizationId, { recover: true });
	const [first, last] = [clients[0], clients.at(-1)];
	last.send({ type: "presence_track", metadata: { at: "a relay" } });
	await last.next(({ type }) => type === "presence_state" || type === "presence_join");
	first.send({ type: "presence_track", metadata: { at: "the first" } });
	await first.next((frame) => JSON.stringify(frame).includes(`user-${SOCKETS - 1}`));
	const position = { epoch: last.welcome.epoch, offset: last.welcome.offset };
	const { relays } = await stats(server, organizationId);
	for (const { relay } of relays) await server.evictRelay(organizationId, relay, "close");
	await last.closed;
	for (let id = 0; id < 5; id += 1) await publish(server, { organizationId, ...insert("notes", { id }) });
	const again = await join(server, `user-${SOCKETS - 1}`, ["member"], { organizationId, recover: position });
	assert.equal(again.welcome.recovered, true);
	for (let id = 0; id < 5; id += 1) assert.equal((await again.next((frame) => frame.new)).new.id, id);
	assert.equal((await first.next(({ type }) => type === "presence_leave")).user_id, `user-${SOCKETS - 1}`);
	assert.deepEqual((await unread(again)).filter((frame) => frame.new), []);
});

/** Publishes numbered events until the incidents are over, each until it is answered, and ten more. */
async function publishThrough(organizationId, incidents) {
	let count = 0;
	const next = async () => {
		const event = { organizationId, ...message(count), id: `event-${count}` };
		// What was under way when the object ended is sent again, under the same id.
		for (;;) {
			const answer = await publish(server, event).catch(() => undefined);
			if (answer) break;
		}
		count += 1;
	};
	let isOver = false;
	incidents.finally(() => (isOver = true)).catch(() => {});
	while (!isOver) await next();
	await incidents;
	for (let more = 0; more < 10; more += 1) await next();
	return count;
}

test("objects lose their memory while publications go on: sockets stay open and get all, once, in order", async () => {
	const organizationId = "org_catch_up";
	const clients = await spread(organizationId, { recover: true });
	const { relays } = await stats(server, organizationId);
	const isBroadcast = ({ type }) => type === "broadcast";
	const evictRelay = async (relay) => {
		for (;;) {
			const refused = await server.evictRelay(organizationId, relay, "hibernate").then(() => undefined, (error) => error);
			if (!refused) return;
			// It has not been woken since the last time: its sockets get what wakes it.
			if (!refused.message.includes("not currently running")) throw refused;
			await clients[relay * SHARE].next(isBroadcast);
		}
	};
	const incidents = async () => {
		for (let round = 0; round < 4; round += 1) {
			for (const { relay } of relays) await evictRelay(relay);
			await server.evict(organizationId, "hibernate");
		}
	};
	const count = await publishThrough(organizationId, incidents());
	for (const client of clients) {
		await client.next((frame) => isBroadcast(frame) && frame.payload === count - 1);
		const seen = client.frames.filter(isBroadcast).map(({ payload }) => payload);
		assert.deepEqual(seen, Array.from({ length: count }, (_, number) => number));
	}
	const { connections, missedByRelays } = await stats(server, organizationId);
	assert.deepEqual([connections, missedByRelays.lost], [SOCKETS, 0]);
	await Promise.all(clients.map((client) => client.close()));
});

test("a ticket is good once, wherever it is used", async () => {
	const organizationId = "org_tickets";
	const clients = await spread(organizationId);
	const ticket = await ticketFor(server, tokenOf("ada", ["member"], { organizationId }), { organizationId });
	const url = socketUrl(server, { organizationId, ws_ticket: ticket });
	const client = await connect(url);
	assert.equal((await client.next()).type, "auth_success");
	await assert.rejects(connect(url), (error) => error instanceof UpgradeRefused && error.status === 401);
	await Promise.all([client, ...clients].map((one) => one.close()));
	const figures = await statsWhere(organizationId, ({ connections }) => connections === 0);
	assert.equal(figures.presence, 0);
});

test("the limits of the organization and of its users count all objects", async () => {
	const organizationId = "org_limits";
	const limited = await start({ relays: { sockets: 2, max: 3 }, limits: { connections: 7, connectionsPerUser: 3 } });
	try {
		const open = async (user) => {
			const client = await connect(socketUrl(limited, { organizationId }));
			client.send({ type: "auth", token: tokenOf(user, ["member"], { organizationId }), organizationId });
			return { client, answer: await client.next() };
		};
		for (let count = 0; count < 3; count += 1) assert.equal((await open("ada")).answer.type, "auth_success");
		assert.equal((await open("ada")).answer.code, "connection_limit");
		for (let count = 0; count < 4; count += 1) assert.equal((await open(`user-${count}`)).answer.type, "auth_success");
		assert.equal((await open("bob")).answer.code, "connection_limit");
		assert.equal((await stats(limited, organizationId)).connections, 7);
	} finally {
		await limited.dispose();
	}
});

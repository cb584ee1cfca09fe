/**
 * Several events in one frame: for clients that request it, across hibernation, and with the same events as for others.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { askForTicket, insert, join, message, publish, socketUrl, start, tokenOf, unread } from "../fixture.mjs";

const limits = { publicationsPerSecond: 1_000_000 };
const tables = { people: { masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } } };
const server = await start({ limits, tables });
after(() => server.dispose());

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const flat = (frames) => frames.flatMap((frame) => (frame.type === "batch" ? frame.events : [frame]));
const payloads = (frames) => flat(frames).map(({ payload }) => payload);
const request = (organizationId, from, to) => ({ organizationId, messages: numbers(from, to).map((n) => message(n)) });

test("a request of a hundred events is one frame, also after a hibernation", async () => {
	const options = { organizationId: "org_batch", recover: true };
	const plain = await join(server, "plain", [], options);
	const batched = await join(server, "batched", [], { ...options, batch: true });
	await publish(server, request("org_batch", 1, 100));
	assert.deepEqual(payloads([await batched.next()]), numbers(1, 100));
	assert.deepEqual(payloads(await unread(plain)), numbers(1, 100));
	await server.evict("org_batch", "hibernate");
	const receipt = await publish(server, request("org_batch", 101, 103));
	assert.equal(receipt.delivered, 6);
	const frame = await batched.next();
	assert.deepEqual(frame.events.map(({ offset }) => offset), [101, 102, 103]);
	assert.deepEqual(frame.events, await unread(plain));
	await Promise.all([plain.close(), batched.close()]);
});

test("each role has its own masks in a batch", async () => {
	const rows = ["1", "2"].map((id) => insert("people", { id, ssn: "123-45-6789" }));
	const clients = await Promise.all(["admin", "member"].map((role) => join(server, role, [role], { batch: true })));
	await publish(server, { organizationId: "org_1", messages: rows });
	const seen = await Promise.all(clients.map(async (client) => (await client.next()).events.map((event) => event.new.ssn)));
	assert.deepEqual(seen, [["123-45-6789", "123-45-6789"], ["*****6789", "*****6789"]]);
	await Promise.all(clients.map((client) => client.close()));
});

test("under load events share frames, and none is lost", async () => {
	const organizationId = "org_load";
	const clients = await Promise.all(numbers(1, 5).map((n) => join(server, `user-${n}`, [], { organizationId, recover: true, batch: true })));
	const all = numbers(1, 300);
	const publisher = async (first) => {
		for (let n = first; n <= all.length; n += 3) await publish(server, { ...message(n), organizationId });
	};
	await Promise.all([1, 2, 3].map(publisher));
	for (const client of clients) {
		const frames = [];
		while (flat(frames).length < all.length) frames.push(await client.next());
		assert.deepEqual(payloads(frames).toSorted((a, b) => a - b), all);
		assert.deepEqual(flat(frames).map(({ offset }) => offset), all);
	}
	await Promise.all(clients.map((client) => client.close()));
});

test("what was missed comes in one frame, also to those with a ticket", async () => {
	const organizationId = "org_back";
	const first = await publish(server, { ...message(0), organizationId });
	await publish(server, request(organizationId, 1, 50));
	const recover = { epoch: first.epoch, offset: first.offset };
	const client = await join(server, "ada", [], { organizationId, recover, batch: true });
	assert.deepEqual(payloads([await client.next()]), numbers(1, 50));
	const { wsTicket } = await (await askForTicket(server, tokenOf("bob", [], { organizationId }), { organizationId })).json();
	const other = await connect(socketUrl(server, { ws_ticket: wsTicket, batch: "true", ...recover }));
	assert.equal((await other.next()).recovered, true);
	assert.deepEqual(payloads([await other.next()]), numbers(1, 50));
	await Promise.all([client.close(), other.close()]);
});

/** If the server cannot replay, it says so, and the client reports it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startServer } from "../../miniflare/server.mjs";
import { client, insert, next, publish, record, startWire, state, variables } from "./client-rig.mjs";

const options = { vars: variables({ history: { count: 1000, replay: 5 } }), onLog() {} };
let server = await startServer(options);
after(() => server.dispose());
const wire = await startWire(server.url);
after(() => wire.close());

test("more was missed than is replayed: a gap, and then what follows", async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const heard = record();
	const order = [];
	await one.on("claims", "INSERT", (change) => (order.push(change.new.n), heard.handler(change))).ready;
	one.on.gap((gap) => order.push(gap));
	await publish(server.url, insert("claims", { n: 1 }));
	await heard.count(1);
	const from = one.position;

	one.close();
	for (let n = 2; n <= 6; n += 1) await publish(server.url, insert("claims", { n }));
	one.connect();
	await heard.count(6);
	assert.deepEqual(order, [1, 2, 3, 4, 5, 6], "five are replayed");

	one.close();
	for (let n = 7; n <= 12; n += 1) await publish(server.url, insert("claims", { n }));
	const gap = next(one.on.gap);
	one.connect();
	const { epoch } = from;
	assert.deepEqual(await gap, { from: { epoch, offset: from.offset + 5 }, to: { epoch, offset: from.offset + 11 } });
	await publish(server.url, insert("claims", { n: 13 }));
	await heard.count(7);
	assert.deepEqual(order.slice(-2), [{ from: { epoch, offset: 6 }, to: { epoch, offset: 12 } }, 13]);
});

test("another epoch is a gap, though its offsets look familiar", async (t) => {
	const one = client(wire.url);
	t.after(() => one.close());
	const heard = record();
	await one.on("claims", "INSERT", heard.handler).ready;
	const { epoch } = one.position;
	const gap = next(one.on.gap);
	// Without storage, everything is gone with the server.
	await server.dispose();
	server = await startServer(options);
	wire.port = new URL(server.url).port;
	const { from, to } = await gap;
	assert.equal(from.epoch, epoch);
	assert.notEqual(to.epoch, epoch);
	assert.equal(to.offset, 0);
	await state(one, "connected");
	await publish(server.url, insert("claims", { n: 1 }));
	await heard.count(1);
});

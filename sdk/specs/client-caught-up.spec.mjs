/** `caughtUp`: everything up to a receipt has been handled. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { insert, publish, record, recordingSocket, startRig, state, within } from "./client-rig.mjs";

const { server, open } = await startRig();

test("when it settles, the handlers have had all that was accepted before", async (t) => {
	const one = open(t);
	const heard = record();
	await one.on("claims", "*", heard.handler).ready;
	for (let round = 1; round <= 20; round += 1) {
		await one.caughtUp(await publish(server.url, insert("claims", { round }), insert("claims", { round })));
		assert.equal(heard.all.length, round * 2);
	}
});

test("it settles also for what this user is not sent, and leaves no subscription behind", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	await one.on("claims", "*", () => {}).ready;
	await within(one.caughtUp(await publish(server.url, insert("payroll", { id: 1 }))), "it is pending");
	const ids = (wanted) => sent.filter(({ type }) => type === wanted).map(({ id }) => id);
	assert.deepEqual(ids("unsubscribe"), ids("subscribe"));
	assert.equal(ids("subscribe").length, 1);
});

test("it waits for the connection that comes, and rejects when the client is closed", async (t) => {
	const one = open(t);
	const heard = record();
	await one.on("claims", "*", heard.handler).ready;
	await server.evict("org_1", "close");
	const receipt = await publish(server.url, insert("claims", { id: 1 }));
	await within(one.caughtUp(receipt), "it is pending");
	assert.equal(heard.all.length, 1);
	one.close();
	const more = await publish(server.url, insert("claims", { id: 2 }));
	await assert.rejects(one.caughtUp(more), { code: "closed" });
	one.connect();
	await state(one, "connected");
	await one.caughtUp(more);
	assert.equal(heard.all.length, 2);
});

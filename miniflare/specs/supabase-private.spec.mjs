/**
 * Supabase's clients: private channels, what each policy decides, and when it is decided again.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { subscribe, unread } from "../fixture.mjs";
import { RECENT, startSupabase } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());
const strict = await startSupabase({ publicTopics: false });
after(() => strict.dispose());
const narrow = await startSupabase({ limits: { topics: 2 } });
after(() => narrow.dispose());

const secret = { private: true };
const sure = { ...secret, broadcast: { ack: true } };
const system = ["system", {}];

/** The reason of a join that must be refused, without the client's wrapping. */
async function refusal(room) {
	const { status, error } = await room.subscribe();
	assert.equal(status, "CHANNEL_ERROR");
	return error.message.replaceAll('"', "");
}

behaviour(server, "private: the policy admits or refuses, with the reason", async (tenant) => {
	const member = await tenant.person("mel").room("room:1", { config: secret }).join();
	const guest = tenant.person("gus", { roles: ["guest"] }).room("room:1", { config: secret });
	const nobody = tenant.person("nobody", { roles: null }).room("room:1", { config: secret });
	const expected = "Unauthorized: You do not have permissions to read from this Channel topic: room:1";
	assert.deepEqual(await Promise.all([refusal(guest), refusal(nobody)]), [expected, expected]);
	await tenant.say("room:1", "hello", {}, secret);
	assert.deepEqual(await member.heard(), ["hello", {}]);
	assert.deepEqual([guest.events.unread(), nobody.events.unread()], [[], []]);
});

behaviour(server, "private: the right to read does not include writing", async (tenant) => {
	const boss = tenant.person("ada", { roles: ["admin"], client: RECENT });
	const [reader, writer] = [
		await tenant.person("mel").room("news:1", { config: sure }).join(),
		await boss.room("news:1", { config: sure }).join(),
	];
	assert.equal(await reader.send("mine", {}), "error");
	assert.equal(await writer.send("theirs", {}), "ok");
	assert.deepEqual(await reader.heard(), ["theirs", {}]);
	assert.deepEqual(await writer.unread(), []);
});

behaviour(server, "private: presence has its own policy", async (tenant) => {
	const on = [["broadcast", { event: "*" }], ["presence", { event: "*" }], ["presence", { event: "sync" }]];
	const room = await tenant.person("mel").room("news:1", { config: secret, on }).join();
	assert.equal(await room.channel.track({ a: 1 }), "error");
	await tenant.say("news:1", "hello", {}, secret);
	assert.deepEqual(await room.heard(), ["hello", {}]);
	assert.deepEqual(room.presence(), {});
	const there = await tenant.person("mel").room("room:1", { config: secret, on }).join();
	assert.equal(await there.channel.track({ a: 1 }), "ok");
	await there.events.until(() => Object.keys(there.presence()).length === 1);
});

behaviour(server, "private: native and Supabase clients in one room", async (tenant) => {
	const native = await tenant.native("nat");
	await subscribe(native, "r", { topic: "room:1" });
	const room = await tenant.person("mel").room("room:1", { config: sure }).join();
	assert.equal(await room.send("hello", { n: 1 }), "ok");
	assert.deepEqual(await native.next(), { type: "broadcast", event: "hello", payload: { n: 1 }, topic: "room:1" });
	native.send({ type: "broadcast", topic: "room:1", event: "back", payload: { n: 2 } });
	assert.deepEqual(await room.heard(), ["back", { n: 2 }]);
	await unread(native);
});

behaviour(server, "a fresh token that revokes the right to read closes the channel", async (tenant) => {
	const mel = tenant.person("mel");
	const [open, closed] = [await mel.room("lobby").join(), await mel.room("room:1", { config: secret, on: [system] }).join()];
	await mel.refresh({ roles: ["guest"], role: "guest" });
	const { payload } = await closed.next();
	assert.deepEqual([payload.status, payload.extension, payload.channel], ["error", "system", "room:1"]);
	assert.match(payload.message, /^You (no longer have permission|do not have permissions) to read from this Channel topic: room:1$/);
	assert.equal((await closed.statuses.next()).status, "CLOSED");
	await tenant.say("lobby", "still", {});
	assert.deepEqual(await open.heard(), ["still", {}]);
	assert.deepEqual(open.statuses.unread(), []);
});

behaviour(server, "a fresh token that grants rights takes effect at once", async (tenant) => {
	const mel = tenant.person("mel", { roles: ["guest"] });
	const on = [["postgres_changes", { event: "*", schema: "public", table: "people" }]];
	const [room, rows] = [await mel.room("news:1", { config: sure }).join(), await mel.room("db", { on }).join()];
	assert.equal(await room.send("mine", {}), "error");
	await mel.refresh({ roles: ["admin", "hr"], role: "admin" });
	assert.equal(await room.send("mine", {}), "ok");
	await tenant.change("INSERT", "people", { id: 1, ssn: "123-45-6789" });
	assert.equal((await rows.next()).payload.new.ssn, "123-45-6789");
});

behaviour(server, "a token that is sent after the join", async (tenant) => {
	const late = tenant.person("hal", { roles: null });
	const on = [["postgres_changes", { event: "*", schema: "public", table: "people" }]];
	const rows = await late.room("db", { on }).join();
	await tenant.change("INSERT", "people", { id: 1, ssn: "123-45-6789" });
	assert.equal((await rows.next()).payload.new.ssn, "*****6789");
	await late.refresh({ roles: ["hr"], role: "hr" });
	await tenant.change("INSERT", "people", { id: 2, ssn: "123-45-6789" });
	assert.equal((await rows.next()).payload.new.ssn, "123-45-6789");
});

behaviour(
	server,
	"a token that the client refreshes at a heartbeat",
	async (tenant) => {
		const ada = tenant.person("ada", { callback: true });
		const on = [["postgres_changes", { event: "*", schema: "public", table: "people" }]];
		const rows = await ada.room("db", { on }).join();
		await tenant.change("INSERT", "people", { id: 1, ssn: "123-45-6789" });
		assert.equal((await rows.next()).payload.new.ssn, "*****6789");
		ada.renew({ roles: ["hr"], role: "hr" });
		const before = ada.socket.sent.items.length;
		await ada.heartbeat();
		await ada.socket.sent.until(() => ada.socket.sent.items.slice(before).some(({ event }) => event === "access_token"));
		await ada.sync();
		await tenant.change("INSERT", "people", { id: 2, ssn: "123-45-6789" });
		assert.equal((await rows.next()).payload.new.ssn, "123-45-6789");
	},
	{ lacks: ({ module }) => module === "realtime-2.10.7" },
);

behaviour(server, "an expired token is reported and its channels are closed", async (tenant) => {
	const exp = Math.floor(Date.now() / 1_000) + 3;
	const room = await tenant.person("ada", { claims: { exp } }).room("lobby", { on: [system] }).join();
	const { payload } = await room.next(({ payload }) => payload.status === "error");
	assert.match(payload.message, /^Token has expired \d+ seconds ago$/);
	assert.deepEqual([payload.extension, payload.channel], ["system", "lobby"]);
	assert.equal((await room.statuses.next()).status, "CLOSED");
});

behaviour(server, "an invalid token closes the channel with its reason", async (tenant) => {
	const mel = tenant.person("mel");
	const room = await mel.room("lobby", { on: [system] }).join();
	await mel.setAuth("nonsense");
	const { payload } = await room.next();
	assert.deepEqual([payload.status, payload.message], ["error", "The token provided is not a valid JWT"]);
	assert.equal((await room.statuses.next()).status, "CLOSED");
});

behaviour(strict, "only private channels, if public ones are disabled", async (tenant) => {
	const mel = tenant.person("mel");
	assert.equal(await refusal(mel.room("lobby")), "PrivateOnly: This project only allows private channels");
	await mel.room("room:1", { config: secret }).join();
});

behaviour(narrow, "channels beyond the limit are refused", async (tenant) => {
	const mel = tenant.person("mel");
	for (const name of ["a", "b"]) await mel.room(name).join();
	assert.match(await refusal(mel.room("c")), /^ChannelRateLimitReached: /);
});

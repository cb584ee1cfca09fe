/**
 * Recovery of what was requested: publications elsewhere do not interfere, and rows of earlier builds, which do not
 * name where they were published, are recovered too.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { join, message, publish, start, unread } from "../fixture.mjs";

const limits = { publicationsPerSecond: 1_000_000, filterBytes: 1_000_000 };
const scratch = mkdtempSync(path(tmpdir(), "realtime-worker-"));
after(() => rmSync(scratch, { recursive: true }));

const said = (topic, payload) => message(payload, { topic, private: false });
const payloads = (frames) => frames.filter(({ type }) => type === "broadcast").map(({ payload }) => payload);

/** Subscribes to a topic, and returns what was missed of it; `undefined` if that is no longer known. */
async function missedOf(client, topic, recover) {
	client.send({ type: "subscribe", id: topic, topic, private: false, recover });
	const frames = await unread(client);
	assert.equal(frames[0].type, "subscribed", JSON.stringify(frames[0]));
	return frames[0].recovered ? payloads(frames) : undefined;
}

test("a topic is recovered however much was published elsewhere", async () => {
	const server = await start({ limits, history: { replay: 100, replayBytes: 10_000 } });
	after(() => server.dispose());
	const { welcome } = await join(server, "u", [], { recover: true });
	const from = { epoch: welcome.epoch, offset: 0 };
	for (let batch = 0; batch < 20; batch += 1) {
		const loud = Array.from({ length: 99 }, (_, index) => said("loud", batch * 99 + index));
		await publish(server, { messages: [...loud, said("quiet", batch)] });
	}
	await publish(server, { messages: [message("everyone"), said("large", "x".repeat(9_000)), said("large", "y".repeat(9_000)), said("large", "z")] });
	const client = await join(server, "u", []);
	for (const life of ["in memory", "after a hibernation"]) {
		if (life !== "in memory") await server.evict("org_1", "hibernate");
		assert.deepEqual(await missedOf(client, "quiet", from), [...Array(20).keys()], life);
		assert.equal(await missedOf(client, "loud", from), undefined, `${life}: more rows than may be replayed`);
		assert.equal(await missedOf(client, "large", from), undefined, `${life}: more bytes than may be replayed`);
		assert.deepEqual(await missedOf(client, "empty", from), [], life);
		const back = await join(server, "u", [], { recover: from });
		assert.equal(back.welcome.recovered, true, life);
		assert.deepEqual(payloads(await unread(back)), ["everyone"], life);
		for (const id of ["quiet", "loud", "large", "empty"]) client.send({ type: "unsubscribe", id });
		await unread(client);
		await back.close();
	}
	await client.close();
});

/** Converts every object's tables to what the previous build had written. */
function asBefore(folder) {
	const files = readdirSync(folder, { recursive: true }).filter((name) => name.includes("Broadcaster") && name.endsWith(".sqlite"));
	let rows = 0;
	for (const file of files) {
		const database = new DatabaseSync(path(folder, file));
		if (database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'history'").get()) {
			rows += database.prepare("SELECT count(*) AS rows FROM history").get().rows;
			database.exec(`
				DROP INDEX history_by_place;
				ALTER TABLE history DROP COLUMN place;
				CREATE INDEX history_by_topic ON history (topic, offset) WHERE topic IS NOT NULL;
				DROP TABLE state;
				CREATE TABLE overflow (client_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
				INSERT INTO overflow VALUES ('gone', '{}');
				UPDATE meta SET value = '2' WHERE key = 'schema';
			`);
		}
		database.close();
	}
	return rows;
}

test("what the schema before has stored is recovered", async () => {
	const persist = path(scratch, "before");
	const before = await start({ limits }, { persist });
	const { welcome } = await join(before, "u", [], { recover: true });
	const from = { epoch: welcome.epoch, offset: 0 };
	await publish(before, { messages: [said("mine", 1), said("other", 2), message(3), said("mine", 4)] });
	await before.dispose();
	assert.equal(asBefore(persist), 4);

	const behind = await start({ limits }, { persist });
	after(() => behind.dispose());
	await publish(behind, { messages: [said("mine", 5), message(6)] });
	await behind.evict("org_1", "hibernate");
	const client = await join(behind, "u", []);
	assert.deepEqual(await missedOf(client, "mine", from), [1, 4, 5]);
	const back = await join(behind, "u", [], { recover: from });
	assert.deepEqual(payloads(await unread(back)), [3, 6]);
	await Promise.all([client.close(), back.close()]);
});

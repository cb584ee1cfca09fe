/**
 * The guarantees of every outbox, whatever language it is written in: its specs run it with a real D1 and the built
 * Worker.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCESS_TOKEN, join, unread } from "../../miniflare/fixture.mjs";
import { createRealtime } from "realtime-worker/server";

/** The report of a flush that found nothing. */
export const nothing = { published: 0, parked: 0, errors: [], more: false };

/** The rows and messages that a client has received: their ids, or the messages' events. */
export const idsOf = async (client) => (await unread(client)).map((frame) => frame.new?.id ?? frame.event);

/** Lets effects happen up to the fatal one, before or after which everything crashes; with 0, nothing does. */
export function mortality(fatal, when) {
	let step = 0;
	const mortal = async (effect) => {
		step += 1;
		if (fatal && (step > fatal || (step === fatal && when === "before"))) throw new Error("crash");
		const result = await effect();
		if (step === fatal) throw new Error("crash");
		return result;
	};
	return { mortal, steps: () => step };
}

/** Reads the table of outboxes. The tables of `OUTBOX_TABLE` and `claims` exist. */
export function tableIn(db) {
	let organizations = 0;
	return {
		/** A separate organization for each test. */
		nextOrganization: () => `org_outbox_${++organizations}`,
		async rowsOf(organizationId) {
			const all = db.prepare("SELECT * FROM realtime_outbox WHERE organization_id = ? ORDER BY position");
			return (await all.bind(organizationId).all()).results;
		},
	};
}

/**
 * Tests what every outbox promises.
 *
 * @param {object} server with the Worker
 * @param {object} db the D1 database
 * @param {{nextOrganization: () => string, rowsOf: (organizationId: string) => Promise<object[]>}} table
 * @param {object} outbox
 * @param {(organizationId: string, ids: string[]) => Promise<unknown>} outbox.commit inserts claims, in one transaction
 * with their publications
 * @param {(organizationId?: string) => Promise<object>} outbox.flush gives the report
 * @param {(fatal: number, when: string) => Promise<{died: boolean, steps: number}>} outbox.die flushes everyone's with
 * calls of the database and the Worker that are {@link mortality}'s
 */
export function testPromises(server, db, { nextOrganization, rowsOf }, { commit, flush, die }) {
	const enter = async () => {
		const organizationId = nextOrganization();
		return { organizationId, client: await join(server, "ada", ["admin"], { organizationId }) };
	};
	const idsIn = (organizationId, count) => Array.from({ length: count }, (_, n) => `${organizationId}-${n}`);

	test("the row and its publication are committed together, and published after it", async () => {
		const { organizationId, client } = await enter();
		await commit(organizationId, ["a1"]);
		assert.deepEqual(await unread(client), []);
		assert.deepEqual(await flush(), { ...nothing, published: 1 });
		assert.deepEqual(await idsOf(client), ["a1"]);
		assert.deepEqual(await rowsOf(organizationId), []);
		assert.deepEqual(await flush(), nothing);
		await client.close();
	});

	test("a transaction that fails publishes nothing", async () => {
		const organizationId = nextOrganization();
		await assert.rejects(commit(organizationId, ["b1", "b1"]));
		assert.deepEqual(await rowsOf(organizationId), []);
		assert.equal(await db.prepare("SELECT * FROM claims WHERE id = 'b1'").first(), null);
	});

	test("a flush that dies at any step, before or after it takes effect, loses nothing and delivers once", async () => {
		let survived = 0;
		// Every call of the database and of the Worker is a step.
		for (let fatal = 1; !survived; fatal += 1) {
			for (const when of ["before", "after"]) {
				const { organizationId, client } = await enter();
				const ids = idsIn(organizationId, 3);
				await commit(organizationId, ids);
				const { died, steps } = await die(fatal, when);
				if (!died) survived = steps;
				await flush(organizationId);
				assert.deepEqual(await idsOf(client), ids, `${when} step ${fatal}`);
				assert.deepEqual(await rowsOf(organizationId), [], `${when} step ${fatal}`);
				await client.close();
			}
		}
		assert.equal(survived, 4, "the organizations, their rows, the publication, the deletion");
	});

	test("more than a batch goes in order, and flushes at the same time do no harm", async () => {
		const { organizationId, client } = await enter();
		const ids = idsIn(organizationId, 250);
		await commit(organizationId, ids);
		await Promise.all([flush(), flush(organizationId), flush(organizationId)]);
		assert.deepEqual(await idsOf(client), ids);
		assert.deepEqual(await rowsOf(organizationId), []);
		await client.close();
	});

	test("a message that the Worker refuses is parked with the reason; the others go on", async () => {
		const { organizationId, client } = await enter();
		const publishable = await poison(server, db, organizationId, nextOrganization());
		assert.deepEqual(await flush(), { ...nothing, published: publishable.length + 1, parked: 4 });
		const seen = (await unread(client)).map((frame) => (frame.event === "good" ? frame.payload : frame.event));
		assert.deepEqual(seen, publishable);
		const errors = (await rowsOf(organizationId)).map((row) => row.error);
		assert.equal(errors.length, 3);
		assert.match(errors[0], /^invalid_request: messages\[\d+\] /);
		assert.match(errors[1], /^unknown_mask_type: .*maskingConfig\.a\.type/);
		assert.match(errors[2], /^payload_too_large: /);
		assert.match((await rowsOf("no organization"))[0].error, /^invalid_request: organizationId /);
		assert.deepEqual(await flush(), nothing);
		await db.prepare("DELETE FROM realtime_outbox").run();
		await client.close();
	});
}

/**
 * Writes valid messages, among them one for every reason of the Worker to refuse, and one of another organization.
 * Returns what can be published of the first organization's.
 */
async function poison(server, db, organizationId, other) {
	const outbox = createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN }).outbox(db);
	const poisoned = [
		outbox.broadcast("", 1, organizationId),
		outbox.insert("claims", {}, organizationId, { maskingConfig: { a: { type: "blur" } } }),
		outbox.broadcast("large", "x".repeat(600_000), organizationId),
		outbox.broadcast("large too", "x".repeat(600_000), organizationId),
		outbox.broadcast("too large", "x".repeat(1 << 20), organizationId),
	];
	for (const [index, statement] of poisoned.entries()) {
		await db.batch([outbox.broadcast("good", index, organizationId), statement]);
	}
	await outbox.broadcast("nowhere", 1, "no organization").run();
	await outbox.broadcast("good", 1, other).run();
	const torn = db.prepare("UPDATE realtime_outbox SET message = '{' WHERE organization_id = ? AND message LIKE '%\"\"%'");
	await torn.bind(organizationId).run();
	return [0, 1, 2, "large", 3, "large too", 4];
}

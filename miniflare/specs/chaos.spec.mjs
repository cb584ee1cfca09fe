/**
 * A small chaos run: whatever happens to the Worker, its objects and the connections, nothing is lost, duplicated, out
 * of order, or sent to the wrong recipient.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chaos } from "../chaos/chaos.mjs";

test("20,000 events through crashes, deploys, hibernations, broken lines and jumping clocks", async (t) => {
	const result = await chaos({ events: 20_000, minutes: 0.7, perRequest: 40 });
	t.diagnostic(JSON.stringify(result));
	const { lost, lostInPeace, twice, outOfOrder, leaked, gaps } = result;
	assert.deepEqual({ lost, lostInPeace, twice, outOfOrder, leaked, gaps }, { lost: 0, lostInPeace: 0, twice: 0, outOfOrder: 0, leaked: 0, gaps: 0 });
	assert.ok(result.received > result.events, "there were listeners");
});

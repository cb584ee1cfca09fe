/**
 * Filters built in code mean for the Worker what they say, whatever their values contain.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { judge, where } from "realtime-worker/client";
import { insert, join, publish, start, subscribe, unread } from "../../miniflare/fixture.mjs";

const server = await start();
after(() => server.dispose());

const w = where();
/** Texts with a meaning in the grammar, or that would end a value. */
const hostile = ["", " ", "a,b", "a)b", "(", '"', "\\", 'a"b\\c', "x,status=eq.y", "not.x", " padded ", "in.(a)", ".", ",", "null", "1.50", "%_", "\u{1f980}", "a\nb", '\\"', "=", "a=b.c"];
const rows = hostile.map((text, index) => ({ id: index, text, flag: index % 2 === 0, none: index % 3 ? index : null }));
const ids = (test) => rows.filter(test).map(({ id }) => id);

/** What a connection with this filter receives. */
async function seen(filter) {
	const client = await join(server, "ada", ["admin"], { subscriptions: [] });
	assert.equal((await subscribe(client, "s", { table: "texts", filter })).type, "subscribed", filter);
	return { client, filter };
}

test("every value and operator arrives as it was meant", async () => {
	const cases = [
		...hostile.map((text) => [w.eq("text", text), ids((row) => row.text === text)]),
		...hostile.map((text) => [w.not(w.eq("text", text)), ids((row) => row.text !== text)]),
		...hostile.map((text) => [w.in("text", [text, "a,b"]), ids((row) => [text, "a,b"].includes(row.text))]),
		[w.in("text", hostile), ids(() => true)],
		[w.not(w.in("text", hostile)), []],
		[w.neq("text", "a,b"), ids((row) => row.text !== "a,b")],
		[w.and(w.eq("flag", true), w.is("none", null)), ids((row) => row.flag && row.none === null)],
		[w.not(w.is("none", null)), ids((row) => row.none !== null)],
		[w.not(w.not(w.is("flag", false))), ids((row) => !row.flag)],
		[w.isdistinct("none", 4), ids((row) => row.none !== 4)],
		[w.and(w.gte("id", 3), w.lt("id", 5n)), [3, 4]],
		[w.and(w.gt("id", 3), w.lte("id", 5)), [4, 5]],
		[w.like("text", "a,%"), ids((row) => row.text.startsWith("a,"))],
		[w.ilike("text", "A_B"), ids((row) => /^a.b$/s.test(row.text))],
		[w.match("text", "^(a,|x,)"), ids((row) => /^(a,|x,)/.test(row.text))],
		[w.imatch("text", "^A,"), ids((row) => row.text.startsWith("a,"))],
		[w.and(), ids(() => true)],
	];
	const watchers = await Promise.all(cases.map(([filter]) => seen(filter)));
	for (const row of rows) await publish(server, insert("texts", row));
	for (const [index, { client, filter }] of watchers.entries()) {
		assert.deepEqual((await unread(client)).map((frame) => frame.new.id), cases[index][1], filter);
		await client.close();
	}
	const decidable = cases.filter(([filter]) => !/like|match/.test(filter));
	for (const [filter, expected] of decidable) {
		const verdicts = rows.map((row) => judge(filter, row));
		if (!verdicts.includes(undefined)) assert.deepEqual(rows.filter((_, index) => verdicts[index]).map(({ id }) => id), expected, filter);
	}
});

test("what no filter can say is refused", () => {
	for (const column of ["", " a", "a=b", "a,b", "a(b", 'a"']) assert.throws(() => w.eq(column, 1), TypeError);
	assert.throws(() => w.not(w.and(w.eq("a", 1), w.eq("b", 2))), TypeError);
	assert.throws(() => w.not(w.and(w.eq("a", "x,y"), w.in("b", ["z,"]))), TypeError);
	assert.throws(() => w.not(""), TypeError);
});

/**
 * Presence: who is in a topic, as its members are informed, correct even after the object, the client or the server was
 * lost.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { after, test } from "node:test";
import { join, start, stats, subscribe, tokenOf, unread } from "../fixture.mjs";

const server = await start();
after(() => server.dispose());
const scratch = mkdtempSync(path(tmpdir(), "realtime-worker-"));
after(() => rmSync(scratch, { recursive: true }));

/** Each test has its own organization, so that nobody from another test is present. */
let organizations = 0;
const organization = () => `org_presence_${(organizations += 1)}`;
async function people(organizationId, ...users) {
	const clients = [];
	// One after the other: an object that two requests wake at the same moment cannot be evicted.
	for (const user of users) clients.push(await join(server, user, ["member"], { organizationId }));
	return clients;
}

/** Joins, and returns the reported members: users by name. */
async function track(client, metadata = {}, place = {}) {
	client.send({ type: "presence_track", metadata, ...place });
	const { clients } = await client.next(({ type }) => type === "presence_state");
	const self = await client.next(({ type }) => type === "presence_join");
	client.id = self.client_id;
	return clients.map(({ user_id }) => user_id).sort();
}
const isOf = (user) => (frame) => frame.user_id === user;

test("the lobby tells who is there, who comes, changes and leaves", async () => {
	const [ann, ben, lurker] = await people(organization(), "ann", "ben", "lurker");
	assert.deepEqual(await track(ann, { at: "home" }), []);
	ben.send({ type: "presence_track", metadata: { at: "work" } });
	// What follows a difference within 50 ms is sent at the end of that time, so each is awaited.
	const [state, joined] = [await ben.next(), await ben.next()];
	assert.deepEqual(state, { type: "presence_state", clients: [{ client_id: ann.id, user_id: "ann", metadata: { at: "home" } }] });
	assert.deepEqual(joined, { type: "presence_join", client_id: joined.client_id, user_id: "ben", metadata: { at: "work" } });
	assert.deepEqual(await ann.next(), joined);
	ben.send({ type: "presence_update", metadata: { at: "lunch" } });
	const updated = { type: "presence_update", client_id: joined.client_id, metadata: { at: "lunch" } };
	for (const client of [ben, ann]) assert.deepEqual(await client.next(), updated);
	ben.send({ type: "presence_untrack" });
	const left = { type: "presence_leave", client_id: joined.client_id, user_id: "ben" };
	for (const client of [ben, ann]) assert.deepEqual(await client.next(), left);
	assert.deepEqual(await unread(lurker), [], "who is not in the lobby is told nothing");
	await Promise.all([ann, ben, lurker].map((client) => client.close()));
});

test("topics are told apart, and frames name theirs", async () => {
	const [ann, ben] = await people(organization(), "ann", "ben");
	await track(ann, {}, { topic: "room:1" });
	assert.deepEqual(await track(ben, {}, { topic: "room:2" }), []);
	assert.deepEqual(await track(ben, {}, { topic: "room:1", private: false }), []);
	assert.deepEqual(await unread(ann), []);
	assert.deepEqual(await track(ben, {}, { topic: "room:1" }), ["ann"]);
	assert.deepEqual((await unread(ann)).map(({ type, topic }) => [type, topic]), [["presence_join", "room:1"]]);
	await Promise.all([ann.close(), ben.close()]);
});

test("a subscriber of the topic may watch without being there", async () => {
	const [ann, watcher] = await people(organization(), "ann", "watcher");
	await track(ann, { x: 1 }, { topic: "room:1" });
	await subscribe(watcher, "r", { topic: "room:1", presence: true });
	const { clients } = await watcher.next();
	assert.deepEqual(clients, [{ client_id: ann.id, user_id: "ann", metadata: { x: 1 } }]);
	await ann.close();
	assert.deepEqual(await watcher.next(), { type: "presence_leave", topic: "room:1", client_id: ann.id, user_id: "ann" });
	await watcher.close();
});

test("tracking again changes the metadata, and the same metadata is no news", async () => {
	const [ann, ben] = await people(organization(), "ann", "ben");
	await track(ann, { n: 1 });
	await track(ben);
	await ann.next(isOf("ben"));
	ben.send({ type: "presence_track", metadata: { n: 2 } });
	ben.send({ type: "presence_update", metadata: { n: 2 } });
	const { type, metadata } = await ann.next();
	assert.deepEqual([type, metadata], ["presence_update", { n: 2 }]);
	ben.send({ type: "presence_untrack" });
	assert.equal((await ann.next()).type, "presence_leave", "and nothing in between");
	await Promise.all([ann.close(), ben.close()]);
});

test("two connections of one user are two members", async () => {
	const [one, two, ben] = await people(organization(), "ann", "ann", "ben");
	await track(one);
	await track(two);
	assert.deepEqual(await track(ben), ["ann", "ann"]);
	await one.close();
	assert.deepEqual((await ben.next()).client_id, one.id);
	assert.deepEqual(await unread(ben), []);
	await Promise.all([two.close(), ben.close()]);
});

test("who disconnects, in whatever way, leaves every topic", async () => {
	const organizationId = organization();
	const [ann, ben, cat] = await people(organizationId, "ann", "ben", "cat");
	for (const place of [{}, { topic: "room:1" }]) for (const client of [ann, ben, cat]) await track(client, {}, place);
	await unread(ann);
	ben.socket.terminate();
	const first = [await ann.next(), await ann.next()];
	await cat.close(1000);
	const second = [await ann.next(), await ann.next()];
	for (const [leaves, user] of [[first, "ben"], [second, "cat"]]) {
		assert.deepEqual(leaves.map(({ type, user_id }) => [type, user_id]), Array(2).fill(["presence_leave", user]));
	}
	assert.equal((await stats(server, organizationId)).presence, 2);
	await ann.close();
});

test("channel policies and the refresh of a token decide about presence, too", async () => {
	const organizationId = organization();
	const [ann, ben] = await people(organizationId, "ann", "ben");
	ann.send({ type: "presence_track", topic: "news", metadata: {} });
	assert.equal((await ann.next()).code, "forbidden");
	await track(ann, {}, { topic: "room:1" });
	await track(ben, {}, { topic: "room:1" });
	await ann.next(isOf("ben"));
	ben.send({ type: "auth", token: tokenOf("ben", ["guest"], { organizationId }) });
	const { type, user_id } = await ann.next();
	assert.deepEqual([type, user_id], ["presence_leave", "ben"]);
	await unread(ben);
	for (const [frame, code] of [
		[{ type: "presence_update", metadata: {} }, "not_tracked"],
		[{ type: "presence_untrack" }, "not_tracked"],
		[{ type: "presence_track" }, "invalid_frame"],
		[{ type: "presence_track", metadata: [] }, "invalid_frame"],
	]) {
		ben.send(frame);
		assert.equal((await ben.next((answer) => answer.code)).code, code);
	}
	await Promise.all([ann.close(), ben.close()]);
});

test("a hibernation changes nothing", async () => {
	const organizationId = organization();
	const [ann, ben] = await people(organizationId, "ann", "ben");
	await track(ann, { n: 1 });
	await track(ben, { n: 2 });
	await unread(ann);
	await server.evict(organizationId, "hibernate");
	assert.deepEqual(await unread(ann), []);
	await server.evict(organizationId, "hibernate");
	ben.send({ type: "presence_update", metadata: { n: 3 } });
	assert.deepEqual(await ann.next(), { type: "presence_update", client_id: ben.id, metadata: { n: 3 } });
	await server.evict(organizationId, "hibernate");
	await ben.close();
	assert.deepEqual(await ann.next(), { type: "presence_leave", client_id: ben.id, user_id: "ben" });
	await ann.close();
});

test("after a crash nobody is left of those who were there", async () => {
	const organizationId = organization();
	const [ann, ben] = await people(organizationId, "ann", "ben");
	await track(ann);
	await track(ben);
	await server.evict(organizationId, "close");
	await Promise.all([ann.closed, ben.closed]);
	const [cat] = await people(organizationId, "cat");
	assert.deepEqual(await track(cat), []);
	assert.equal((await stats(server, organizationId)).presence, 1);
	await cat.close();
});

test("after a deploy nobody is left of those who were there", async () => {
	const before = await start({}, { persist: scratch });
	const ann = await join(before, "ann");
	await track(ann, {}, { topic: "room:1" });
	await track(ann);
	assert.equal((await stats(before)).presence, 2);
	await before.dispose();
	await ann.closed;
	const behind = await start({}, { persist: scratch });
	after(() => behind.dispose());
	const ben = await join(behind, "ben");
	assert.deepEqual(await track(ben, {}, { topic: "room:1" }), []);
	assert.equal((await stats(behind)).presence, 1);
	await ben.close();
});

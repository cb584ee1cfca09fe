/**
 * Butterbase's and Fluxbase's clients of one organization, spread over its own object and two relays.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, change, control, deploy, userToken } from "../butterbase.mjs";
import { ACCESS_TOKEN, stats, tokenOf } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";

const LISTENERS = 5;
const room = { read: { roles: ["member"] }, write: { roles: ["member"] }, presence: { roles: ["member"] } };

const server = await deploy({
	relays: { sockets: 2, max: 2 },
	tables: { messages: {} },
	channels: [{ topic: "room-*", ...room }],
	lobby: { roles: ["butterbase_user"] },
	butterbase: { apps: { [APP]: { listeners: LISTENERS, tables: ["messages"], public: ["messages"] } } },
	fluxbase: { organization: APP },
});
after(() => server.dispose());

const user = (name) => ButterbaseClient.connect(server, { token: userToken(name) });

test("an app's listeners, tables, presences and lists are those of all its objects", async () => {
	const people = [];
	while (people.length < LISTENERS) people.push(await user(`user-${people.length}`));
	const token = tokenOf("flo", ["member"], { organizationId: APP });
	const flo = new FluxbaseChannel(server.url, "room-1", { token });
	await flo.ready();
	const { connections, relays } = await stats(server, APP);
	assert.deepEqual([connections, relays.map(({ relay, connections }) => [relay, connections])], [LISTENERS + 1, [[1, 2], [2, 2]]]);

	const late = new ButterbaseClient(server, { token: userToken("late") });
	await late.until(() => late.of("error").length > 0);
	assert.equal(late.of("error")[0].code, "listener_limit");
	await late.close();

	for (const client of people) await client.subscribe("messages");
	await change(server, "messages", "INSERT", { new: { id: 1 } });
	for (const client of people) await client.until(() => client.changes.length === 1);
	assert.equal((await control(server, "GET", "/config"))[1].active_connection, true);
	assert.equal((await control(server, "DELETE", "/messages"))[0], 200);
	await change(server, "messages", "INSERT", { new: { id: 2 } });
	assert.equal((await control(server, "POST", "/configure", { body: { tables: ["messages"] } }))[0], 200);
	await change(server, "messages", "INSERT", { new: { id: 3 } });
	for (const client of people) {
		await client.until(() => client.changes.length === 2);
		assert.deepEqual(client.changes.map(({ record }) => record.id), [1, 3]);
	}

	for (const [number, client] of people.entries()) await client.track({ number });
	const [first, last] = [people[0], people.at(-1)];
	await first.until(() => Object.keys(first.present).length === LISTENERS - 1);
	for (const { relay } of relays) await server.evictRelay(APP, relay, "hibernate");
	await server.evict(APP, "hibernate");
	last.send({ type: "presence_update", metadata: { woken: true } });
	await first.until(() => Object.values(first.present).some(({ woken }) => woken));

	const service = { headers: { authorization: `Bearer ${ACCESS_TOKEN}` } };
	const counts = await (await fetch(`${server.url}/api/realtime/stats`, service)).json();
	assert.deepEqual(counts, { connections: LISTENERS + 1, channels: 2 });
	const listed = [];
	for (let offset = 0; offset < LISTENERS + 1; offset += 2) {
		const page = `${server.url}/api/v1/realtime/stats?limit=2&offset=${offset}`;
		const answer = await (await fetch(page, service)).json();
		assert.equal(answer.total_connections, LISTENERS + 1);
		listed.push(...answer.connections.map(({ user_id: name }) => name));
	}
	assert.deepEqual(listed.sort(), ["flo", ...people.map((_, number) => `user-${number}`)]);
	const gus = new FluxbaseChannel(server.url, "room-1", { token: tokenOf("gus", ["member"], { organizationId: APP }) });
	await gus.ready();
	assert.equal(await gus.send("said", { n: 1 }), "ok");
	await flo.until(() => flo.messages.length === 1);
	assert.deepEqual(flo.messages, [{ event: "said", payload: { n: 1 } }]);
	await Promise.all([flo, gus, ...people].map((client) => client.close()));
});

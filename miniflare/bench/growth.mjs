/**
 * Growth: what one publication costs workerd among few connections and among thousands, each of which asks for something
 * of its own. Strangers' filters and topics should cost nothing; those who receive should cost the same, however many.
 */
import { Fleet } from "./fleet.mjs";
import { startSupabase, startWorker } from "./sides.mjs";
import { figure, median } from "./table.mjs";

export const GROWTH_SOCKETS = 5_000;
const FEW = 10;
/** Publications of one measurement, where each has one recipient. */
const PUBLICATIONS = 200;
/** Publications of one measurement, where everyone receives. */
const BROADCASTS = 5;
const change = (user) => ({ type: "postgres_changes", table: "orders", eventType: "INSERT", new: { id: 1, user_id: user, note: "shipped" } });

/** Who asks for what, and what is published: to one of them, unless `everyone` receives. */
const CASES = [
	{
		name: "own filter, one recipient",
		start: startWorker,
		greetings: 2,
		target: (worker, organizationId, index) => asking(worker, organizationId, index, { table: "orders", filter: `user_id=eq.usr_${index}` }),
		event: (index) => change(`usr_${index}`),
	},
	{
		name: "own topic, one recipient",
		start: () => startWorker({ channels: [{ topic: "order:*", read: {} }] }),
		greetings: 2,
		target: (worker, organizationId, index) => asking(worker, organizationId, index, { topic: `order:${index}` }),
		event: (index) => ({ type: "broadcast", topic: `order:${index}`, event: "note", payload: "shipped" }),
	},
	{
		name: "own Supabase channel, everyone receives",
		start: startSupabase,
		everyone: true,
		// The answer to the join, and that the subscription stands.
		greetings: 2,
		target: (worker, organizationId, index) => ({ url: worker.address(organizationId), headers: {}, hello: joining(index) }),
		event: () => change("usr_0"),
	},
];

/** @param {{rounds: number}} options */
export async function growth({ rounds }) {
	const rows = [];
	for (const one of CASES) rows.push(...(await measure(one, rounds)));
	return rows;
}

async function measure(one, rounds) {
	const worker = await one.start();
	const side = { ...worker, greetings: one.greetings, target: (...of) => one.target(worker, ...of) };
	const fleet = new Fleet(GROWTH_SOCKETS);
	try {
		const few = await fleet.open(side, "org_few", FEW);
		const many = await fleet.open(side, "org_many", GROWTH_SOCKETS);
		const costs = { few: [], many: [] };
		// The first round warms up.
		for (let round = 0; round <= Math.min(rounds, 5); round += 1) {
			const measured = { few: await cost(one, worker, few), many: await cost(one, worker, many) };
			if (round > 0) for (const size of ["few", "many"]) costs[size].push(measured[size]);
		}
		const what = one.everyone ? "frame" : "publication";
		const ratio = median(costs.many.map((many, round) => many / costs.few[round]));
		return [
			figure(`${one.name}: CPU per ${what}, ${FEW} sockets`, "µs", median(costs.few)),
			figure(`${one.name}: CPU per ${what}, ${GROWTH_SOCKETS} sockets`, "µs", median(costs.many)),
			figure(`${one.name}: ${GROWTH_SOCKETS} over ${FEW} sockets`, "times", ratio, { most: 2 }),
		];
	} finally {
		fleet.dispose();
		await worker.dispose();
	}
}

/** CPU of workerd in microseconds, per frame where everyone receives, else per publication. */
async function cost({ everyone, event }, worker, group) {
	const count = everyone ? Math.ceil((BROADCASTS * GROWTH_SOCKETS) / group.size / (group.size === FEW ? 10 : 1)) : PUBLICATIONS;
	const before = worker.cpu();
	for (let index = 0; index < count; index += 1) {
		const all = everyone ? group.received() : undefined;
		const delivered = await worker.publishEvent({ ...event(index % group.size), organizationId: group.organizationId });
		const expected = everyone ? group.size : 1;
		if (delivered !== expected) throw new Error(`${delivered} frames were sent instead of ${expected}`);
		await all;
	}
	return (worker.cpu() - before) / (everyone ? count * group.size : count);
}

function asking(worker, organizationId, index, target) {
	const { url, token } = worker.session(organizationId, index);
	const subscriptions = [{ id: "own", ...target }];
	return { url, headers: {}, hello: JSON.stringify({ type: "auth", token, organizationId, subscriptions }) };
}

function joining(index) {
	const config = { private: false, postgres_changes: [{ event: "*", schema: "public", table: "orders" }] };
	return JSON.stringify(["1", "1", `realtime:own-${index}`, "phx_join", { config }]);
}

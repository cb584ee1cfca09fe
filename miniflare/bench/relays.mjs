/**
 * Sockets of one organization over several objects: whether each gets every publication once, what a frame costs beside those of
 * one object, and what the request to a relay adds.
 */
import { connect } from "../client.mjs";
import { Fleet } from "./fleet.mjs";
import { startWorker } from "./sides.mjs";
import { comparison, figure, percentile } from "./table.mjs";

/** As many as a process of most machines may have open. */
export const RELAYS_SOCKETS = 18_000;
const RELAYS = 4;
const PUBLICATIONS = 200;
/** Sockets of the sides that are compared: over four objects, and in one. */
const COMPARED = 8_000;
const OBJECTS = 4;
const TURNS = 10;
const PUBLICATIONS_OF_A_TURN = 3;
/** CPU of a frame of relays, over that of one object. */
const MAX_RATIO = 1.1;
/** Publications to one socket of each object, one after the other. */
const HOPS = 300;
const ORGANIZATION = "org_relays";

export async function relays() {
	return [...(await everyone()), ...(await beside()), ...(await hop())];
}

/** Everyone gets each publication exactly once: a frame too few or too many ends this with an error. */
async function everyone() {
	const share = Math.ceil(RELAYS_SOCKETS / (RELAYS + 1));
	const worker = await startWorker({ relays: { sockets: share, max: RELAYS } });
	const fleet = new Fleet(RELAYS_SOCKETS);
	try {
		const group = await fleet.open(worker, ORGANIZATION, RELAYS_SOCKETS);
		const { connections, relays } = await worker.wake(ORGANIZATION);
		if (connections !== RELAYS_SOCKETS || relays.length !== RELAYS) throw new Error(`the sockets are elsewhere: ${connections}, ${JSON.stringify(relays)}`);
		const taken = await publish(worker, group, PUBLICATIONS);
		const deliveries = await settledDeliveries(worker, PUBLICATIONS * RELAYS_SOCKETS);
		const label = `${RELAYS_SOCKETS} sockets at ${RELAYS + 1} objects, ${PUBLICATIONS} publications`;
		return [
			figure(`${label}: frames lost or too many`, "", PUBLICATIONS * RELAYS_SOCKETS - deliveries, { most: 0 }),
			...latencies(label, taken),
		];
	} finally {
		fleet.dispose();
		await worker.dispose();
	}
}

/** Relays report what they hand out with their next answer. */
async function settledDeliveries(worker, expected) {
	for (let tries = 0; ; tries += 1) {
		const { deliveries } = await worker.wake(ORGANIZATION);
		if (deliveries >= expected || tries === 100) return deliveries;
	}
}

/** Both sides hold their sockets all the time and take turns. */
async function beside() {
	const relayed = await startWorker({ relays: { sockets: COMPARED / OBJECTS, max: OBJECTS - 1 } });
	const single = await startWorker();
	const fleet = new Fleet(2 * COMPARED);
	try {
		const sides = [];
		for (const worker of [relayed, single]) sides.push({ worker, group: await fleet.open(worker, ORGANIZATION, COMPARED), costs: [], taken: [] });
		// The first turns warm up; who comes after whom changes with every turn.
		for (let turn = -2; turn < TURNS; turn += 1) {
			for (const side of turn % 2 === 0 ? sides : sides.toReversed()) {
				const before = side.worker.cpu();
				const taken = await publish(side.worker, side.group, PUBLICATIONS_OF_A_TURN);
				if (turn < 0) continue;
				side.costs.push((side.worker.cpu() - before) / PUBLICATIONS_OF_A_TURN / COMPARED);
				side.taken.push(...taken);
			}
		}
		const [many, one] = sides;
		return [
			comparison(`CPU per frame, ${COMPARED} sockets at ${OBJECTS} objects over one`, "µs", many.costs, one.costs, MAX_RATIO),
			...latencies(`${COMPARED} sockets at ${OBJECTS} objects`, many.taken),
			...latencies(`${COMPARED} sockets at one object`, one.taken),
		];
	} finally {
		fleet.dispose();
		await relayed.dispose();
		await single.dispose();
	}
}

/** Publishes one after the other: how long the publisher waited, and how long it took to reach everyone. */
async function publish(worker, group, count) {
	const taken = [];
	for (let done = 0; done < count; done += 1) {
		const [started, all] = [performance.now(), group.received()];
		await worker.publish(group.organizationId);
		const answered = performance.now() - started;
		await all;
		taken.push({ answered, received: performance.now() - started });
	}
	return taken;
}

function latencies(label, taken) {
	return ["answered", "received"].flatMap((what) =>
		[50, 99].map((percent) => figure(`${label}: ${what === "answered" ? "publisher answered" : "everyone reached"}, p${percent}`, "ms", percentile(taken.map((one) => one[what]), percent))),
	);
}

/** What one request to a relay adds: two sockets at one object, and one at each of two. */
async function hop() {
	const near = await timesToTwo({});
	const far = await timesToTwo({ relays: { sockets: 1, max: 1 } });
	return [
		figure("a publication to two sockets of one object: the second has it, p50", "ms", percentile(near.second, 50)),
		figure("a publication to a socket of the object and one of a relay: the second has it, p50", "ms", percentile(far.second, 50)),
		figure("the same, p99", "ms", percentile(far.second, 99)),
		figure("CPU of such a publication", "µs", far.cpu, { bare: near.cpu }),
	];
}

async function timesToTwo(realtime) {
	const worker = await startWorker(realtime);
	const clients = [];
	try {
		for (let index = 0; index < 2; index += 1) {
			const { url, headers } = worker.target(ORGANIZATION, index);
			clients.push(await connect(url, { headers }));
			await clients.at(-1).next();
		}
		const second = [];
		let before = worker.cpu();
		for (let count = 0; count < 2 * HOPS; count += 1) {
			// The first half warms up.
			if (count === HOPS) before = worker.cpu();
			const started = performance.now();
			const there = Promise.all(clients.map((client) => client.next())).then(() => performance.now() - started);
			await worker.publish(ORGANIZATION);
			if (count >= HOPS) second.push(await there);
			else await there;
		}
		return { second, cpu: (worker.cpu() - before) / HOPS };
	} finally {
		await Promise.all(clients.map((client) => client.close()));
		await worker.dispose();
	}
}

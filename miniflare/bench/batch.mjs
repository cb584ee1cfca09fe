/**
 * Several events in one frame: what they cost beside a frame for each, and a stream that frames for each could not hold.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect } from "../client.mjs";
import { Fleet } from "./fleet.mjs";
import { startBare, startWorker } from "./sides.mjs";
import { figure, median, percentile } from "./table.mjs";

export const BATCH_SOCKETS = 2_000;
const SOCKETS = 1_000;
const EVENTS = 100;
const MAX_RATIO = 1 / 20;
/** Publications a second of the stream, and for how long; one in a request, or several as an API worker commits them. */
const RATE = 500;
const PER_REQUEST = [10, 1];
const SECONDS = 5;
/** How long the last events may take, in milliseconds. */
const PATIENCE = 5_000;
const MAX_P99 = 150;
/** The clients of the stream that note when each event comes. */
const WATCHERS = 10;
const ORGANIZATION = "org_stream";
const NOTE = "a note of the benchmark ".repeat(4);

/** @param {{rounds: number}} options */
export async function batch({ rounds }) {
	const rows = await ofOneRequest(rounds);
	for (const perRequest of PER_REQUEST) {
		rows.push(...(await stream("worker", startStream, perRequest)));
		rows.push(...(await stream("bare object", () => startBare(""), perRequest)));
	}
	return rows;
}

/** The CPU of workerd for a request of many events. */
async function ofOneRequest(rounds) {
	const worker = await startWorker();
	const fleet = new Fleet(BATCH_SOCKETS);
	try {
		const open = (organizationId, more) => fleet.open(authenticating(worker, more), organizationId, SOCKETS);
		const groups = [
			{ group: await open("org_plain", {}), frames: EVENTS, costs: [] },
			{ group: await open("org_batch", { batch: true }), frames: 1, costs: [] },
		];
		// The first round warms up.
		for (let round = 0; round <= Math.min(rounds, 5); round += 1) {
			for (const { group, frames, costs } of groups) {
				const before = worker.cpu();
				const all = group.received(frames);
				await worker.publishMany(group.organizationId, EVENTS);
				await all;
				if (round > 0) costs.push((worker.cpu() - before) / 1e3);
			}
		}
		const [plain, batched] = groups.map(({ costs }) => costs);
		const label = `${EVENTS} events in one request to ${SOCKETS} sockets`;
		return [
			figure(`${label}: CPU with a frame for each`, "ms", median(plain)),
			figure(`${label}: CPU with batches`, "ms", median(batched)),
			figure(`${label}: batches over frames`, "times", median(batched.map((cost, round) => cost / plain[round])), { most: MAX_RATIO }),
		];
	} finally {
		fleet.dispose();
		await worker.dispose();
	}
}

function authenticating(worker, more) {
	const target = (organizationId, index) => {
		const { url, token } = worker.session(organizationId, index);
		return { url, headers: {}, hello: JSON.stringify({ type: "auth", token, organizationId, ...more }) };
	};
	return { ...worker, target };
}

async function startStream() {
	const worker = await startWorker();
	return authenticating(worker, { batch: true });
}

/** Another process publishes at a steady rate; takes the time until each event has reached the watchers. */
async function stream(name, start, perRequest) {
	const side = await start();
	const fleet = new Fleet(SOCKETS);
	try {
		await fleet.open(side, ORGANIZATION, SOCKETS - WATCHERS);
		const latencies = [];
		await Promise.all(Array.from({ length: WATCHERS }, (_, index) => watch(side, SOCKETS + index, latencies)));
		const [before, started] = [side.cpu(), performance.now()];
		const delays = await publishSteadily(side, perRequest);
		// What a side that cannot keep up does not take is missing at the watchers.
		const isDone = () => latencies.length >= RATE * SECONDS * WATCHERS;
		const end = performance.now() + PATIENCE;
		while (performance.now() < end && !isDone()) await sleep(50);
		const cpu = (side.cpu() - before) / 1e6 / ((performance.now() - started) / 1e3);
		const missing = RATE * SECONDS * WATCHERS - latencies.length;
		latencies.push(...Array(Math.max(0, missing)).fill(Number.POSITIVE_INFINITY));
		const label = `${RATE} publications a second, ${perRequest} in a request, to ${SOCKETS} sockets, ${name}`;
		const aims = name === "worker" ? { most: MAX_P99 } : {};
		return [
			figure(`${label}: event received, p50`, "ms", percentile(latencies, 50)),
			figure(`${label}: event received, p99`, "ms", percentile(latencies, 99), aims),
			figure(`${label}: publisher answered, p99`, "ms", percentile(delays, 99)),
			figure(`${label}: CPU`, "cores", cpu),
		];
	} finally {
		fleet.dispose();
		await side.dispose();
	}
}

async function watch(side, index, latencies) {
	const { url, headers, hello } = side.target(ORGANIZATION, index);
	const client = await connect(url, { headers });
	if (hello !== undefined) client.send(hello);
	if (side.greetings > 0) await client.next();
	client.socket.on("message", (data) => {
		const now = Date.now();
		const frame = JSON.parse(data.toString());
		for (const { payload } of frame.events ?? frame.messages ?? [frame]) if (payload) latencies.push(now - payload.sent);
	});
	return client;
}

async function publishSteadily(side, perRequest) {
	const event = { type: "broadcast", event: "note", payload: { sent: 0, note: NOTE } };
	const body = { organizationId: ORGANIZATION, messages: Array(perRequest).fill(event) };
	const publisher = fork(fileURLToPath(new URL("publisher.mjs", import.meta.url)));
	try {
		const [rate, count] = [RATE / perRequest, (RATE * SECONDS) / perRequest];
		publisher.send({ ...side.publishing(ORGANIZATION), body, rate, count, patience: PATIENCE });
		const [{ delays, unanswered }] = await once(publisher, "message");
		return [...delays.map((delay) => delay ?? Number.POSITIVE_INFINITY), ...Array(unanswered).fill(Number.POSITIVE_INFINITY)];
	} finally {
		publisher.kill();
	}
}

/**
 * A chaos run: publishers that retry, listeners that reconnect, and between them everything that can go wrong. The
 * results are counted: lost, duplicated, out of order, leaked, and the longest time that a listener was disconnected.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Deployment } from "./deployment.mjs";
import { REALTIME, eventOf } from "./ledger.mjs";
import { SdkListener, SupabaseListener } from "./listeners.mjs";
import { Wire } from "./wire.mjs";

const PUBLISHERS = 4;
/** Between two incidents, in milliseconds. */
const PAUSE = [200, 1_500];
/** How long stragglers may take once everything is quiet. */
const PATIENCE = 90_000;
/**
 * The share of events, and of time, that is published in quiet at the end: clients without recovery must receive these.
 * At full speed such a client might be closed as too slow, and miss what the others recover.
 */
const QUIET = 0.05;
const MAX_SKEW = 120_000;

const random = (from, to) => from + Math.random() * (to - from);

/** The incidents, and their relative frequency. */
const INCIDENTS = [
	{ name: "crash", weight: 2, run: ({ deployment }) => deployment.kill() },
	{ name: "deploy", weight: 2, run: ({ deployment }) => deployment.deploy() },
	{ name: "hibernation", weight: 3, run: ({ deployment }) => deployment.evict("hibernate"), evicts: true },
	{ name: "object crash", weight: 3, run: ({ deployment }) => deployment.evict("close"), evicts: true },
	{ name: "cut lines", weight: 4, run: ({ wire }) => wire.cut(0.5) },
	{ name: "half-open lines", weight: 2, run: ({ wire }) => wire.silence(0.3) },
	{ name: "clock jump", weight: 2, run: ({ deployment }) => deployment.jump(random(-MAX_SKEW, MAX_SKEW)) },
];

/**
 * @param {{events: number, minutes?: number, perRequest?: number, sdk?: number, supabase?: number, other?: string, log?: Function}} options
 *   `minutes`: over which they are published, and after twice of which no more are; `other`: the folder of another build, deployed in turn
 */
export async function chaos({ events, minutes = 1, perRequest = 20, sdk = 8, supabase = 3, other, log = () => {} }) {
	const wire = await Wire.open();
	const deployment = new Deployment(wire, REALTIME, other);
	await deployment.start();
	const listeners = {
		sdk: Array.from({ length: sdk }, (_, index) => new SdkListener(wire, events, index)),
		supabase: Array.from({ length: supabase }, (_, index) => new SupabaseListener(wire, events, index)),
	};
	try {
		await Promise.all([...listeners.sdk, ...listeners.supabase].map(({ ready }) => ready));
		await until(() => listeners.supabase.every(({ isConnected }) => isConnected));
		const started = performance.now();
		const run = { deployment, wire, listeners, log, perRequest, length: minutes * 60_000, counts: {}, next: 0, retries: 0 };
		await storm(run, Math.floor(events * (1 - QUIET)));
		const stormed = run.next;
		await peace(run, events);
		return report(run, { stormed, seconds: (performance.now() - started) / 1_000 });
	} finally {
		for (const listener of [...listeners.sdk, ...listeners.supabase]) await listener.close();
		await deployment.dispose();
		await wire.close();
	}
}

/** Publishes while incidents happen. */
async function storm(run, end) {
	let isOver = false;
	const pace = paceOf(run, end, run.length);
	const publishing = Promise.all(Array.from({ length: PUBLISHERS }, () => publisher(run, pace))).finally(() => (isOver = true));
	while (!isOver) {
		await Promise.race([publishing, sleep(random(...PAUSE))]);
		if (!isOver) await incident(run);
	}
	await publishing;
}

/** Lets everyone reconnect, and publishes the rest. */
async function peace(run, events) {
	await run.deployment.jump(0);
	// Dead connections are found by their silence; to save that wait, they are closed.
	run.wire.cut(1);
	const everyone = [...run.listeners.sdk, ...run.listeners.supabase];
	await sleep(500);
	await until(() => everyone.every(({ isConnected }) => isConnected));
	run.quietFrom = run.next;
	for (const listener of run.listeners.supabase) listener.absences = [];
	await publisher(run, paceOf(run, Math.min(events, run.next + Math.ceil(events * QUIET)), run.length * QUIET));
	run.published = run.next;
	await until(() => run.listeners.sdk.every(({ ledger }) => ledger.missing(0, run.published) === 0), false);
	await until(() => run.listeners.supabase.every(({ ledger }) => ledger.missing(run.quietFrom, run.published) === 0), false);
}

/** What remains until `end`, spread over `length` milliseconds. */
function paceOf(run, end, length) {
	return { from: run.next, end, started: performance.now(), length };
}

/** Publishes at a steady rate. Incidents delay it, and it catches up, or gives up after twice the time. */
async function publisher(run, { from: first, end, started, length }) {
	const elapsed = () => (performance.now() - started) / length;
	while (run.next < end && elapsed() <= 2) {
		const wait = length * ((run.next - first) / (end - first) - elapsed());
		if (wait > 0) {
			await sleep(wait);
			continue;
		}
		const from = run.next;
		const to = Math.min(end, from + run.perRequest);
		run.next = to;
		const messages = Array.from({ length: to - from }, (_, index) => eventOf(from + index));
		while (!(await published(run, messages))) await sleep(random(20, 200));
	}
}

async function published(run, messages) {
	try {
		await run.deployment.publish(messages);
		return true;
	} catch {
		run.retries += 1;
		return false;
	}
}

async function incident(run) {
	const { name, run: happen } = chosen(run.deployment.isEvictable);
	run.counts[name] = (run.counts[name] ?? 0) + 1;
	run.log(`${run.next} events; ${name}`);
	try {
		await happen(run);
	} catch (error) {
		// An object that does not exist cannot be evicted; one that is in use is evicted another time.
		if (!/evict|running|references/.test(error.message)) throw error;
	}
}

function chosen(isEvictable) {
	const possible = INCIDENTS.filter(({ evicts = false }) => isEvictable || !evicts);
	let left = Math.random() * possible.reduce((sum, { weight }) => sum + weight, 0);
	return possible.find(({ weight }) => (left -= weight) < 0) ?? possible[0];
}

function report({ listeners, counts, published, quietFrom, retries }, { stormed, seconds }) {
	const ledgers = [...listeners.sdk, ...listeners.supabase].map(({ ledger }) => ledger);
	const sum = (list, pick) => list.reduce((total, one) => total + pick(one), 0);
	const lacks = (ledger, from) => (ledger.missing(from, published) > 0 ? [ledger.lacks(from, published)] : []);
	const [sdk, guests] = [listeners.sdk, listeners.supabase].map((list) => list.map(({ ledger }) => ledger));
	return {
		events: published,
		seconds: Math.round(seconds),
		received: sum(ledgers, ({ count }) => count),
		retries,
		incidents: counts,
		lost: sum(sdk, (ledger) => ledger.missing(0, published)),
		lostInPeace: sum(guests, (ledger) => ledger.missing(quietFrom, published)),
		lacking: [...sdk.flatMap((ledger) => lacks(ledger, 0)), ...guests.flatMap((ledger) => lacks(ledger, quietFrom))],
		awayInPeace: listeners.supabase.flatMap(({ absences }) => absences),
		twice: sum(ledgers, ({ twice }) => twice),
		outOfOrder: sum(ledgers, ({ outOfOrder }) => outOfOrder),
		leaked: sum(ledgers, ({ leaked }) => leaked),
		gaps: sum(sdk, ({ gaps }) => gaps),
		missedWhileAway: sum(guests, (ledger) => ledger.missing(0, stormed)),
		slowestRecovery: Math.round(Math.max(...listeners.sdk.map(({ slowest }) => slowest))),
	};
}

async function until(isReached, throws = true) {
	const end = performance.now() + PATIENCE;
	while (!isReached()) {
		if (performance.now() > end) {
			if (throws) throw new Error("the listeners did not come back");
			return;
		}
		await sleep(50);
	}
}

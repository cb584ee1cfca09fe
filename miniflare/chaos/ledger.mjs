/**
 * Which events each listener should receive, and which it received. Events are identified by their numbers.
 */

/** The value that is masked for all but admins. */
const SECRET = "123-45-6789";
/** The kinds of events, in turn. */
const KINDS = [
	{ make: (n) => ({ type: "broadcast", topic: "chaos", event: "note", payload: { n } }) },
	{ make: (n) => ({ type: "postgres_changes", table: "people", eventType: "INSERT", new: { id: n, ssn: SECRET } }) },
	{ make: (n) => ({ type: "postgres_changes", table: "people", eventType: "INSERT", new: { id: n, ssn: SECRET }, targetRoles: ["admin"] }), forAdmins: true },
	{ make: (n) => ({ type: "broadcast", event: "note", payload: { n } }), isNative: true },
];
const kindOf = (n) => KINDS[n % KINDS.length];

/** The publication with a number, which is also its idempotency key. */
export function eventOf(n) {
	return { ...kindOf(n).make(n), id: `chaos-${n}` };
}

/** The configuration that the kinds need. */
export const REALTIME = {
	channels: [{ topic: "chaos", read: {}, write: {}, presence: {} }],
	tables: { people: { masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } } },
	limits: { publicationsPerSecond: 1_000_000, errorsPerMinute: 1_000_000, joinsPerSecond: 1_000_000 },
	// Nobody stays away for longer than this retains.
	history: { count: 1_000_000, bytes: 1_000_000_000, replay: 200_000, replayBytes: 100_000_000 },
};

/** What one listener received. */
export class Ledger {
	twice = 0;
	outOfOrder = 0;
	leaked = 0;
	gaps = 0;
	count = 0;
	#seen;
	#isAdmin;
	#isNative;
	#last = -1;

	/** @param {number} events @param {{isAdmin: boolean, isNative: boolean}} listener */
	constructor(events, { isAdmin, isNative }) {
		this.#seen = new Uint8Array(events);
		this.#isAdmin = isAdmin;
		this.#isNative = isNative;
	}

	/** Records an event; `ssn` for a row, `offset` if the listener receives any. */
	take(n, { ssn, offset }) {
		if (this.#seen[n]) this.twice += 1;
		else this.count += 1;
		this.#seen[n] = 1;
		if (!this.#isFor(n) || (ssn !== undefined && (ssn === SECRET) !== this.#isAdmin)) this.leaked += 1;
		if (offset === undefined) return;
		if (offset <= this.#last) this.outOfOrder += 1;
		this.#last = offset;
	}

	/** Another stream has begun: its offsets are unrelated to those before. */
	gap() {
		this.gaps += 1;
		this.#last = -1;
	}

	/** How many of the expected events with these numbers are missing. */
	missing(from, to) {
		let missing = 0;
		for (let n = from; n < to; n += 1) if (this.#isFor(n) && !this.#seen[n]) missing += 1;
		return missing;
	}

	/** The ranges of missing events with these numbers, and how many there are of each kind. */
	lacks(from, to) {
		const lacking = [];
		for (let n = from; n < to; n += 1) if (this.#isFor(n) && !this.#seen[n]) lacking.push(n);
		const kinds = KINDS.map((_, kind) => lacking.filter((n) => n % KINDS.length === kind).length);
		return { first: lacking[0], last: lacking.at(-1), kinds };
	}

	#isFor(n) {
		const { forAdmins = false, isNative = false } = kindOf(n);
		return (!forAdmins || this.#isAdmin) && (!isNative || this.#isNative);
	}
}

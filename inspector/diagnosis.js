/**
 * Answers "why do I receive nothing?" from what the page can know. Pure; the view calls it after every change.
 */

/** What helps after a refusal. */
const ADVICE = {
	invalid_token:
		"The signature, issuer, audience or form of the token is not what JWT_SECRET, JWKS_URL, JWT_ISSUER and JWT_AUDIENCE of the deployment want; or the API key is not in API_KEYS.",
	token_expired: "Paste a fresh token.",
	auth_timeout: "No auth frame arrived within 10 seconds of opening the socket.",
	auth_required: "Another frame was sent before auth.",
	connection_limit: "The organization has as many connections as its limits allow.",
	keys_unavailable: "The server cannot fetch the keys of JWKS_URL.",
	configuration: "A variable or secret of the deployment is missing or malformed; /health answers, everything else does not.",
	forbidden:
		"No policy of REALTIME.channels lets this user in: the first pattern that matches the topic decides, and where none matches nobody may. Public topics need no policy.",
	public_topics_disabled: "REALTIME.publicTopics is false.",
	invalid_filter: "Filters are column=operator.value, joined by commas: status=eq.open,amount=gt.10",
	too_many_errors: "Ten refused frames within a minute end a connection.",
	too_many_attempts: "This address was refused too often within a minute: the credential is not good, or another client there keeps trying.",
};

/** What a deployment and a token need for each protocol other than the native one. */
const NEEDS = {
	supabase: "The key is a session token with a role and an end, or one of API_KEYS, and names one organization.",
	butterbase: "The token is of the app's own issuer, or a service key of API_KEYS; without one, REALTIME.butterbase must let the public in.",
	fluxbase: "REALTIME.fluxbase must name the organization that these clients enter; without a token the role is anon.",
};

/** The refusal of a token that cannot be used with another protocol. */
const JUDGES_TOKEN = new Set(["invalid_token", "wrong_organization", "auth_required"]);

/**
 * One finding.
 *
 * @typedef {{level: "problem" | "hint" | "good", title: string, detail: string}} Finding
 */

/**
 * @param {import("./link.js").Link} link
 * @param {{origin: string, now: number, latest?: number, publication?: object}} surroundings `latest` is the stream's
 *   newest known offset, `publication` the last one from this page
 * @returns {Finding[]} the gravest first
 */
export function diagnose(link, surroundings) {
	if (link.status.state !== "connected") return [whyNotConnected(link, surroundings)];
	const found = [
		...lateToken(link, surroundings),
		...refusedInterests(link),
		...lastPublication(link, surroundings),
		...narrowed(link),
		...roleless(link),
		...topicless(link),
		...behind(link, surroundings),
	];
	if (!found.some(({ level }) => level === "problem")) found.unshift(allIsWell(link, surroundings));
	return found;
}

const problem = (title, detail) => ({ level: "problem", title, detail });
const hint = (title, detail) => ({ level: "hint", title, detail });

function whyNotConnected({ status, claimed, organizationId, ended, protocol }, { origin }) {
	const { state, error } = status;
	if (state === "idle") return problem("Not connected", "Give it a token, and the organization that the token is for. cargo xtask dev prints an address that has two tokens in it.");
	if (state === "connecting") return hint("Connecting", "The socket is opening, or the server is judging the token.");
	if (!error) return problem("Disconnected", "By hand; Resume goes on where it left off.");
	if (protocol?.isForeign && JUDGES_TOKEN.has(error.code)) return problem(`Ended: ${error.code}`, NEEDS[protocol.id]);
	if (error.code === "wrong_organization") {
		const names = claimed.organizations.join(", ") || "no organization";
		return problem("Wrong organization", `The token names ${names}; the connection asked for ${organizationId}.`);
	}
	if (error.code === "disconnected" && protocol?.isForeign) {
		const looked = "The answer to the upgrade stands in the network panel of the browser's developer tools.";
		return problem("The socket was refused, or broke without a word", `${error.message} ${looked} Resume tries again. ${NEEDS[protocol.id]}`);
	}
	if (error.code === "disconnected" && ended?.code === 1006) {
		const usual = "A deploy, a lost network or a restart look like this, and the client tries again by itself.";
		const origins = `If the server runs, it may refuse the upgrade: where ALLOWED_ORIGINS is set, it must name ${origin}.`;
		return problem("The socket broke without a word (1006)", `${usual} ${origins}`);
	}
	return problem(`Ended: ${error.code}`, ADVICE[error.code] ?? error.message);
}

function lateToken({ claimed }, { now }) {
	if (claimed.expiry === undefined || claimed.expiry - now > 120_000) return [];
	const seconds = Math.round((claimed.expiry - now) / 1_000);
	const detail = "30 seconds after its end the connection is closed. An application gives its client a function that fetches a fresh one.";
	return [hint(seconds > 0 ? `The token expires in ${seconds} seconds` : "The token has expired", detail)];
}

function refusedInterests({ interests }) {
	return interests.list.flatMap(({ target, error, presenceError }) =>
		[error, presenceError].filter(Boolean).map(({ code, message }) => {
			return problem(`${nameOfTarget(target)} was refused: ${code}`, ADVICE[code] ?? message);
		}),
	);
}

/** The target of a subscription, as text. */
export function nameOfTarget({ topic, private: isPrivate, table, schema, event, filter }) {
	if (topic !== undefined) return `${isPrivate ? "private" : "public"} topic ${topic}`;
	const rows = `${event === "*" ? "all changes" : event} of ${schema}.${table}`;
	return filter ? `${rows} where ${filter}` : rows;
}

const tables = ({ interests }) => interests.list.filter(({ target }) => "table" in target);
const topics = ({ interests }) => interests.list.filter(({ target, state }) => "topic" in target && state === "standing");

function narrowed(link) {
	const narrow = tables(link).filter(({ isDefault, state }) => !isDefault && state !== "refused");
	if (narrow.length === 0) {
		const { hasWildcard = true, title } = link.protocol ?? {};
		if (!hasWildcard) return [hint("No row change comes", `Clients of ${title} subscribe to each table by its name: add one under Subscriptions.`)];
		const isDefault = tables(link).some((interest) => interest.isDefault);
		const way = "Every subscription to a table was refused, and the client asks for nothing else. Remove them, and every change comes again.";
		return isDefault ? [] : [hint("No row change comes", way)];
	}
	const list = narrow.map(({ target }) => nameOfTarget(target)).join("; ");
	const filter = narrow.some(({ target }) => target.filter) ? " A filter is judged on the row as this user sees it: a masked column is compared masked." : "";
	return [hint("Row changes are narrowed", `Only these arrive: ${list}.${filter}`)];
}

function roleless({ identity }) {
	if (!identity || identity.roles.length > 0) return [];
	const claims = "The claims are roles and role, or the organization's entry in organizations.";
	return [hint("This user has no role", `Events with targetRoles, tables with requiredRoles and most channels are for holders of a role. ${claims}`)];
}

function topicless(link) {
	if (link.protocol && !link.protocol.hasTopics) return [hint("No message comes", `Clients of ${link.protocol.title} get row changes only.`)];
	if (topics(link).length > 0) return [];
	return [hint("No topic is subscribed to", "What is published to a topic reaches only those who are subscribed to it.")];
}

function behind({ welcome, last, position }, { latest }) {
	// A protocol without offsets cannot show that it is behind.
	const seen = last?.offset ?? position?.offset ?? welcome?.offset;
	if (latest === undefined || seen === undefined || latest <= seen) return [];
	const count = latest - seen;
	const title = `${count} newer ${count === 1 ? "event was" : "events were"} not for this connection`;
	return [hint(title, `The organization's stream is at offset ${latest}; the last event here was at ${seen}.`)];
}

function allIsWell({ counts, last, identity, organizationId }, { now }) {
	const title = last ? "Events arrive" : "Nothing is wrong here";
	const ago = last && Math.max(0, Math.round((now - last.time) / 1_000));
	const detail = last
		? `${counts.events} so far, the last ${ago} s ago${last.offset === undefined ? "" : ` at offset ${last.offset}`}.`
		: `Connected to ${organizationId} as ${identity?.userId ?? "no user"}. What is published there for this user arrives; nothing has been since.`;
	return { level: "good", title, detail };
}

/** Judges the last publication of this page as the server did, as far as that can be known from outside. */
function lastPublication(link, { publication }) {
	// Until the receipt arrives, it is in transit.
	if (publication?.offset === undefined) return [];
	if (publication.arrivals.some(({ side, offset }) => side === link.name && (offset === undefined || offset === publication.offset))) return [];
	const reason = whyNotReached(link, publication);
	return reason ? [problem("The last publication from this page did not arrive here", reason)] : [];
}

function whyNotReached(link, { organizationId, event }) {
	const { userId, targetRoles, topic, private: isPrivate = true } = event;
	const { identity } = link;
	if (organizationId !== link.organizationId) return `It went to ${organizationId}; this connection is in ${link.organizationId}.`;
	if (userId !== undefined && userId !== identity?.userId) return `It was for the user ${userId}; this is ${identity?.userId ?? "no user"}.`;
	if (targetRoles && !targetRoles.some((role) => identity?.roles.includes(role))) {
		return `It was for holders of ${targetRoles.join(" or ") || "no role at all"}; this connection holds ${identity?.roles.join(", ") || "no role"}.`;
	}
	const isInTopic = ({ target }) => target.topic === topic && target.private === isPrivate;
	if (topic !== undefined && !topics(link).some(isInTopic)) {
		return `It went to the ${isPrivate ? "private" : "public"} topic ${topic}, to which this connection is not subscribed.`;
	}
	if (event.type !== "postgres_changes") {
		return link.protocol?.isForeign && topic === undefined ? `Clients of ${link.protocol.title} get no message that is for the whole organization.` : undefined;
	}
	const rules = "requiredRoles, rows, onInsert, onUpdate, onDelete";
	return notCovered(link, event) ?? `The deployment's own rules for the table decide too (${rules}), and this page cannot read them.`;
}

function notCovered(link, { table, schema = "public", eventType }) {
	const is = (wanted, given) => wanted === "*" || wanted === given;
	const covering = tables(link).filter(({ target }) => is(target.table, table) && is(target.schema, schema) && is(target.event, eventType));
	const all = tables(link).map(({ target }) => nameOfTarget(target));
	if (covering.length === 0) return `This connection is subscribed to other changes only: ${all.join("; ")}.`;
	const filters = covering.map(({ target }) => target.filter);
	return filters.every(Boolean) ? `It may not pass the filter ${filters.join(" or ")}, which is judged on the row as this user sees it.` : undefined;
}

/**
 * The content of the publish form, as an event of the API. Pure.
 */

/** Initial contents of the form. */
export const EXAMPLES = {
	masked: {
		what: "change",
		schema: "public",
		table: "employees",
		eventType: "INSERT",
		new: { id: "e1", name: "Grace", ssn: "123-45-6789", email: "grace@example.com", salary: 91000 },
		maskingConfig: {
			ssn: { type: "ssn", show: { roles: ["admin"] } },
			email: { type: "email", show: { roles: ["admin"] } },
			salary: { type: "redact", show: { roles: ["admin"] } },
		},
	},
	update: {
		what: "change",
		schema: "public",
		table: "claims",
		eventType: "UPDATE",
		new: { id: "c1", status: "closed", amount: 120 },
		old: { id: "c1", status: "open", amount: 120 },
	},
	message: { what: "message", event: "processing-complete", payload: { id: "m1", pages: 12 } },
	topic: { what: "message", event: "cursor", payload: { x: 1, y: 2 }, topic: "room:1", private: "false" },
};

/** The fields that hold JSON. */
export const JSON_FIELDS = ["new", "old", "payload", "maskingConfig"];
const LISTS = ["targetRoles", "fields"];
const TEXTS = { change: ["schema", "table", "eventType"], message: ["event"] };
const ROWS = { INSERT: ["new"], UPDATE: ["new", "old"], DELETE: ["old"] };

/**
 * @param {Record<string, string>} form
 * @returns {{event: object, errors: {field: string, message: string}[]}}
 */
export function eventOf(form) {
	const errors = [];
	const isChange = form.what === "change";
	const event = { type: isChange ? "postgres_changes" : "broadcast" };
	const take = (name, value) => {
		if (value !== undefined && value !== "") event[name] = value;
	};
	for (const name of TEXTS[form.what]) take(name, form[name]?.trim());
	for (const name of isChange ? ROWS[form.eventType] : ["payload"]) take(name, readJson(form, name, errors));
	if (form.topic?.trim()) Object.assign(event, { topic: form.topic.trim(), private: form.private !== "false" });
	take("userId", form.userId?.trim());
	for (const name of isChange ? LISTS : ["targetRoles"]) take(name, listOf(form[name]));
	take("maskingConfig", readJson(form, "maskingConfig", errors));
	if (isChange) take("ownerField", form.ownerField?.trim());
	take("id", form.id?.trim());
	return { event, errors };
}

/** JSON with one line per top-level key, which suits what is published. */
export function formatted(value) {
	if (value === null || typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
	const lines = Object.entries(value).map(([name, inner]) => `  ${JSON.stringify(name)}: ${JSON.stringify(inner)}`);
	return lines.length > 0 ? `{\n${lines.join(",\n")}\n}` : "{}";
}

function readJson(form, field, errors) {
	const text = form[field]?.trim() ?? "";
	if (text === "") return undefined;
	try {
		return JSON.parse(text);
	} catch (error) {
		errors.push({ field, message: whereIn(text, error.message) });
		return undefined;
	}
}

/** The error of a JSON text; a position in it is shown as line and column. */
function whereIn(text, complaint) {
	const position = complaint.match(/at position (\d+)/)?.[1];
	const reason = complaint.replace(/ in JSON at position.*| \(line.*/s, "").replace(/^JSON\.parse: /, "");
	if (position === undefined) return `No JSON: ${reason}`;
	const before = text.slice(0, Number(position)).split("\n");
	return `No JSON at line ${before.length}, column ${before.at(-1).length + 1}: ${reason}`;
}

/** `admin, hr` as a list; `undefined` for an empty field, so that it does not narrow the audience to nobody. */
function listOf(text = "") {
	const items = text.split(",").map((item) => item.trim()).filter(Boolean);
	return items.length > 0 ? items : undefined;
}

/** The event as a call of the SDK: the API worker's, or a client's if a connection sends it. */
export function sdkOf(origin, { as, organizationId }, event) {
	const json = (value) => JSON.stringify(value, null, 2);
	if (as !== "service") {
		const call = `await client.topic(${json(event.topic ?? "")}, { private: ${event.private !== false} }).send(${json(event.event)}, ${json(event.payload)});`;
		return [`import { createClient } from "realtime-worker/client";`, "", `const client = createClient(${json(origin)}, { organizationId: ${json(organizationId)}, getToken });`, call].join("\n");
	}
	return [`import { createRealtime } from "realtime-worker/server";`, "", `const realtime = createRealtime(env);`, callOf(organizationId, event)].join("\n");
}

function callOf(organizationId, event) {
	const { type, table, eventType, new: row, old, event: name, payload, ...rest } = event;
	const options = JSON.stringify({ organizationId, ...rest }, null, 2);
	const given = (...values) => [...values.map((value) => JSON.stringify(value, null, 2)), options].join(", ");
	if (type === "broadcast") return `await realtime.broadcast(${given(name, payload)});`;
	const calls = { INSERT: ["insert", row], UPDATE: ["update", row, old], DELETE: ["delete", old] };
	const [method, ...rows] = calls[eventType];
	return `await realtime.${method}(${given(table, ...rows.filter((value) => value !== undefined))});`;
}

/** A short summary of the fields under Advanced. */
export function advancedOf(values, event) {
	const columns = Object.keys(event.maskingConfig ?? {}).length;
	const parts = [
		values.as !== "service" && `as connection ${values.as}`,
		columns > 0 && `${columns} ${columns === 1 ? "column" : "columns"} masked`,
		event.targetRoles && `only ${event.targetRoles.join(", ")}`,
		event.userId && `only ${event.userId}`,
		event.fields && `${event.fields.length} columns`,
		event.id && "idempotency key",
	];
	return parts.filter(Boolean).join(" · ") || "audience, masking, organization";
}

/** The event as a terminal command. */
export function curlOf(origin, organizationId, event) {
	const body = JSON.stringify({ organizationId, ...event }, null, 2).replaceAll("'", "'\\''");
	return [`curl ${origin}/broadcast \\`, `  -H "Authorization: Bearer $ACCESS_TOKEN" \\`, `  -H 'Content-Type: application/json' \\`, `  -d '${body}'`].join("\n");
}

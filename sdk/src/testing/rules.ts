/**
 * What one viewer receives of one publication, as the Worker decides it.
 */
import { matches, Undecidable } from "../client/filter.ts";
import type { ChangeOptions, Operation } from "../server/message.ts";
import { narrow, type Table, type Tables } from "../server/table.ts";
import { holds } from "../view/channels.ts";
import { type Json, type JsonRow, maskRow } from "../view/masking.ts";
import { show } from "../view/view.ts";
import type { Viewer } from "../view/viewer.ts";

/** A publication in the format of `POST /broadcast`, or a client's. */
export interface Publication extends ChangeOptions {
	readonly type: "postgres_changes" | "broadcast";
	readonly schema?: string;
	readonly table?: string;
	readonly eventType?: Operation;
	readonly new?: JsonRow | null;
	readonly old?: JsonRow | null;
	readonly event?: string;
	readonly payload?: Json;
	readonly encoding?: "base64";
}

/** A subscription to changes. */
export interface TableTarget {
	readonly table: string;
	readonly schema?: string;
	readonly event?: string;
	readonly filter?: string;
}

/** The frame that a viewer receives of a publication, regardless of subscriptions. */
export function frameFor(publication: Publication, tables: Tables, viewer: Viewer): JsonRow | undefined {
	const { userId, targetRoles, topic, private: isPrivate = true } = publication;
	if (userId !== undefined && userId !== viewer.userId) return undefined;
	if (targetRoles && !holds(viewer, targetRoles)) return undefined;
	const place = topic === undefined ? {} : { topic, ...(!isPrivate && { private: false }) };
	return publication.type === "broadcast" ? messageFor(publication, viewer, place) : changeFor(publication, tables, viewer, place);
}

function messageFor({ event, payload = null, encoding, maskingConfig, ownerField }: Publication, viewer: Viewer, place: JsonRow): JsonRow {
	const isRow = typeof payload === "object" && payload !== null && !Array.isArray(payload);
	const rules = { masking: maskingConfig ?? {}, ...(ownerField && { ownerField }) };
	const [seen] = isRow ? show(rules, [payload], viewer) : [within(payload, maskingConfig, viewer)];
	return { type: "broadcast", event: event!, payload: seen!, ...(encoding && { encoding }), ...place };
}

/** A value that is not a row has no owner. */
function within(payload: Json, masking: ChangeOptions["maskingConfig"] = {}, { roles }: Viewer): Json {
	const paths = Object.fromEntries(Object.entries(masking).map(([path, rule]) => [`payload.${path}`, rule]));
	return maskRow({ payload }, paths, roles, false)["payload"]!;
}

function changeFor(publication: Publication, tables: Tables, viewer: Viewer, place: JsonRow): JsonRow | undefined {
	const { schema = "public", table: name = "", eventType: operation = "UPDATE", fields, maskingConfig, ownerField } = publication;
	const { requiredRoles, ...table } = tableOf(tables, schema, name);
	if (requiredRoles && !holds(viewer, requiredRoles)) return undefined;
	const asked = { ...(fields && { fields }), ...(maskingConfig && { maskingConfig }), ...(ownerField && { ownerField }) };
	const narrowed = narrow(table, operation, asked);
	if (!narrowed) return undefined;
	const rules: Table = {
		...(table.rows && { rows: table.rows }),
		...(narrowed.fields && { fields: narrowed.fields }),
		...(narrowed.maskingConfig && { masking: narrowed.maskingConfig }),
		...(narrowed.ownerField && { ownerField: narrowed.ownerField }),
	};
	const seen = (row: JsonRow | null | undefined) => (row ? show(rules, [row], viewer)[0] : undefined);
	const [before, now] = [seen(publication.old), seen(publication.new)];
	const eventType = operationFor(operation, Boolean(publication.old), Boolean(before), Boolean(now));
	if (!eventType) return undefined;
	const rows = { new: eventType === "DELETE" ? null : now!, old: eventType === "INSERT" ? null : (before ?? null) };
	return { type: "postgres_changes", schema, table: name, eventType, ...rows, ...place };
}

/** The rules of a table; none if it is not defined. */
export function tableOf(tables: Tables, schema: string, table: string): Table {
	const names = schema === "public" ? [table, `public.${table}`] : [`${schema}.${table}`];
	const found = names.find((name) => Object.hasOwn(tables, name));
	return found === undefined ? {} : tables[found]!;
}

/** The operation for a viewer who sees the row before it, after it, or both. */
function operationFor(operation: Operation, oldIsKnown: boolean, sawOld: boolean, seesNew: boolean): Operation | undefined {
	if (operation === "INSERT") return seesNew ? "INSERT" : undefined;
	if (operation === "DELETE") return sawOld ? "DELETE" : undefined;
	if (seesNew) return sawOld || !oldIsKnown ? "UPDATE" : "INSERT";
	return sawOld ? "DELETE" : undefined;
}

/** Whether a change matches a subscription. */
export function isFor({ table, schema = "public", event = "*", filter }: TableTarget, change: JsonRow): boolean {
	const fits = (wanted: string, given: unknown) => wanted === "*" || wanted === given;
	if (!fits(table, change["table"]) || !fits(schema, change["schema"]) || !fits(event, change["eventType"])) return false;
	return !filter || matches(filter, (change["new"] ?? change["old"]) as object);
}

/** Whether a filter can be evaluated here. */
export function isDecidable(filter: string): boolean {
	const columns = new Proxy({}, { getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true, value: "" }), get: () => "" });
	try {
		matches(filter, columns);
		return true;
	} catch (error) {
		if (error instanceof Undecidable) return false;
		throw error;
	}
}

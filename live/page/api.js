// The routes of openapi.json as a page, without anything from other hosts.

const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);
const spec = await (await fetch("/openapi.json")).json();
const page = document.getElementById("routes");

const resolve = (schema) => (schema?.$ref ? spec.components.schemas[schema.$ref.split("/").pop()] : schema);

function fields(route) {
  const found = (route.parameters ?? []).map(({ name, description }) => [name, description]);
  for (const content of Object.values(route.requestBody?.content ?? {})) {
    const schema = resolve(content.schema);
    for (const [name, field] of Object.entries(schema?.properties ?? {})) found.push([name, field.description ?? field.type]);
  }
  return found;
}

page.append(element("p", spec.info.description.replaceAll("`", "")));
for (const [path, verbs] of Object.entries(spec.paths)) {
  for (const [verb, route] of Object.entries(verbs)) {
    const article = document.createElement("article"), title = document.createElement("h2");
    title.append(element("span", verb.toUpperCase(), { className: "verb" }), path);
    article.append(title, element("p", (route.description ?? route.summary).replaceAll("`", "")));
    const list = document.createElement("ul");
    for (const [name, text] of fields(route)) {
      const item = document.createElement("li");
      item.append(element("code", name), text ? ` ${text}` : "");
      list.append(item);
    }
    if (list.children.length) article.append(list);
    page.append(article);
  }
}

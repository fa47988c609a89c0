/**
 * Building the page's parts. Text goes in as text and nothing is ever parsed as HTML, so that a
 * claim or a server's message cannot become markup (the page also runs under Trusted Types).
 */

/**
 * @param {string} selector
 * @param {ParentNode} root
 * @returns {HTMLElement}
 */
export function find(selector, root = document) {
  const element = root.querySelector(selector);
  if (element === null) throw new Error(`The page has no ${selector}`);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Write a text only when it is another one: what does not change is not read out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

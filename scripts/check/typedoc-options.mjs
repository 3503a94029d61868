// Gives TypeDoc the texts and defaults of options that are zod schemas: those of `.describe()` and `.default()`.
import { Comment, Converter, ReflectionKind } from 'typedoc';
import ts from 'typescript';

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Property)) return;
    const [declaration] = context.getSymbolFromReflection(reflection)?.declarations ?? [];
    if (declaration === undefined || !ts.isPropertyAssignment(declaration)) return;
    const [text, initial] = ['describe', 'default'].map((name) => argumentOf(declaration.initializer, name));
    reflection.comment ??= new Comment();
    const { summary } = reflection.comment;
    if (summary.length === 0 && text !== undefined && ts.isStringLiteralLike(text))
      summary.push({ kind: 'text', text: `${text.text[0].toUpperCase()}${text.text.slice(1)}.` });
    const told = /default/i.test(summary.map((part) => part.text).join(''));
    if (initial !== undefined && !told)
      summary.push({ kind: 'text', text: ` Default ${initial.getText()}.` });
  });
}

/** Finds the first argument of `.name(…)` in a chain of calls. */
function argumentOf(expression, name) {
  if (!ts.isCallExpression(expression) || !ts.isPropertyAccessExpression(expression.expression))
    return undefined;
  const { expression: object, name: called } = expression.expression;
  return called.text === name ? expression.arguments[0] : argumentOf(object, name);
}

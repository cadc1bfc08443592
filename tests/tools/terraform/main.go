// Evaluates a Terraform module without its providers, with the libraries that Terraform itself reads modules with: what the
// resources and outputs come to, for given variables and given answers of data sources.
//
// Standard input: {"module": FOLDER, "variables": {}, "data": {"TYPE.NAME": {}}}. Standard output: {"resources":
// {"TYPE.NAME": {KEY: {ATTRIBUTE: VALUE}}}, "outputs": {}, "refused": [MESSAGE]}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

type task struct {
	Module    string                             `json:"module"`
	Variables map[string]ctyjson.SimpleJSONValue `json:"variables"`
	Data      map[string]ctyjson.SimpleJSONValue `json:"data"`
}

// What one resource, or one local value, comes to.
type module struct {
	folder    string
	blocks    map[string]*hclsyntax.Block
	locals    map[string]hclsyntax.Expression
	values    map[string]cty.Value
	instances map[string]map[string]cty.Value
	refused   []string
}

func main() {
	var given task
	check(json.NewDecoder(os.Stdin).Decode(&given))
	m := read(given.Module)
	for name, value := range given.Data {
		m.values["data."+name] = value.Value
		delete(m.blocks, "data."+name)
	}
	for address, block := range m.blocks {
		if block.Type == "variable" {
			m.variable(address, block, given.Variables)
		}
	}
	for name := range given.Variables {
		if m.blocks["var."+name] == nil {
			fail("there is no variable %s", name)
		}
	}
	if len(m.refused) == 0 {
		m.print()
		return
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"refused": m.refused}))
}

func (m *module) print() {
	outputs := map[string]ctyjson.SimpleJSONValue{}
	resources := map[string]map[string]ctyjson.SimpleJSONValue{}
	for address, block := range m.blocks {
		switch block.Type {
		case "data":
			fail("no answer is given for %s", address)
		case "resource":
			m.resolve(address)
			resources[address] = map[string]ctyjson.SimpleJSONValue{}
			for key, value := range m.instances[address] {
				resources[address][key] = ctyjson.SimpleJSONValue{Value: value}
			}
		case "output":
			outputs[block.Labels[0]] = ctyjson.SimpleJSONValue{Value: m.value(block.Body.Attributes["value"].Expr, nil)}
		}
	}
	refused := append([]string{}, m.refused...)
	answer := map[string]any{"resources": resources, "outputs": outputs, "refused": refused}
	check(json.NewEncoder(os.Stdout).Encode(answer))
}

func read(folder string) *module {
	m := &module{folder, map[string]*hclsyntax.Block{}, map[string]hclsyntax.Expression{}, map[string]cty.Value{},
		map[string]map[string]cty.Value{}, nil}
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		parsed, found := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
		checkAll(found)
		for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
			switch block.Type {
			case "locals":
				for name, attribute := range block.Body.Attributes {
					m.locals["local."+name] = attribute.Expr
				}
			case "variable":
				m.blocks["var."+block.Labels[0]] = block
			case "output":
				m.blocks["output."+block.Labels[0]] = block
			case "data":
				m.blocks["data."+strings.Join(block.Labels, ".")] = block
			case "resource":
				m.blocks[strings.Join(block.Labels, ".")] = block
			case "terraform":
			default:
				fail("%s: what is a %s?", file, block.Type)
			}
		}
	}
	return m
}

func (m *module) variable(address string, block *hclsyntax.Block, given map[string]ctyjson.SimpleJSONValue) {
	kind, found := typeexpr.TypeConstraint(block.Body.Attributes["type"].Expr)
	checkAll(found)
	value, there := given[block.Labels[0]]
	if !there {
		value.Value = m.value(block.Body.Attributes["default"].Expr, nil)
	}
	converted, err := convert.Convert(value.Value, kind)
	check(err)
	m.values[address] = converted
	m.require(block.Body, "validation", nil)
}

// Notes the message of each condition of a block that does not hold.
func (m *module) require(body *hclsyntax.Body, kind string, more map[string]cty.Value) {
	for _, block := range body.Blocks {
		if block.Type == kind && m.value(block.Body.Attributes["condition"].Expr, more).False() {
			m.refused = append(m.refused, m.value(block.Body.Attributes["error_message"].Expr, more).AsString())
		}
	}
}

// What an expression comes to, after all that it names.
func (m *module) value(expression hclsyntax.Expression, more map[string]cty.Value) cty.Value {
	groups := map[string]map[string]cty.Value{}
	for _, traversal := range expression.Variables() {
		parts := strings.Split(name(traversal), ".")
		if parts[0] == "each" || parts[0] == "path" {
			continue
		}
		size := 2
		if parts[0] == "data" {
			size = 3
		}
		if len(parts) < size {
			fail("%s: what is %s?", traversal.SourceRange(), strings.Join(parts, "."))
		}
		group, address := strings.Join(parts[:size-1], "."), strings.Join(parts[:size], ".")
		if groups[group] == nil {
			groups[group] = map[string]cty.Value{}
		}
		groups[group][parts[size-1]] = m.resolve(address)
	}
	context := &hcl.EvalContext{Functions: m.functions(), Variables: map[string]cty.Value{}}
	context.Variables["path"] = cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(m.folder)})
	data := map[string]cty.Value{}
	for group, values := range groups {
		if kind, found := strings.CutPrefix(group, "data."); found {
			data[kind] = cty.ObjectVal(values)
		} else {
			context.Variables[group] = cty.ObjectVal(values)
		}
	}
	context.Variables["data"] = cty.ObjectVal(data)
	for name, value := range more {
		context.Variables[name] = value
	}
	value, found := expression.Value(context)
	checkAll(found)
	return value
}

func (m *module) resolve(address string) cty.Value {
	if value, done := m.values[address]; done {
		return value
	}
	if expression := m.locals[address]; expression != nil {
		m.values[address] = m.value(expression, nil)
		return m.values[address]
	}
	block := m.blocks[address]
	if block == nil || block.Type != "resource" {
		fail("there is no %s", address)
	}
	return m.resource(address, block)
}

func (m *module) resource(address string, block *hclsyntax.Block) cty.Value {
	m.instances[address] = map[string]cty.Value{}
	if each := block.Body.Attributes["for_each"]; each != nil {
		all := m.value(each.Expr, nil).AsValueMap()
		for key, value := range all {
			of := cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(key), "value": value})
			m.instances[address][key] = m.instance(block, map[string]cty.Value{"each": of})
		}
		m.values[address] = cty.ObjectVal(m.instances[address])
		return m.values[address]
	}
	count, _ := m.value(block.Body.Attributes["count"].Expr, nil).AsBigFloat().Int64()
	all := []cty.Value{}
	for index := range count {
		all = append(all, m.instance(block, nil))
		m.instances[address][fmt.Sprint(index)] = all[index]
	}
	m.values[address] = cty.TupleVal(all)
	return m.values[address]
}

func (m *module) instance(block *hclsyntax.Block, more map[string]cty.Value) cty.Value {
	attributes := map[string]cty.Value{}
	for name, attribute := range block.Body.Attributes {
		if name != "count" && name != "for_each" {
			attributes[name] = m.value(attribute.Expr, more)
		}
	}
	for _, nested := range block.Body.Blocks {
		m.require(nested.Body, "precondition", more)
	}
	// What AWS tells of it.
	if kind, found := strings.CutPrefix(block.Labels[0], "aws_iam_"); found && attributes["name"] != cty.NilVal {
		account := m.values["data.aws_caller_identity.current"].GetAttr("account_id").AsString()
		partition := m.values["data.aws_partition.current"].GetAttr("partition").AsString()
		arn := fmt.Sprintf("arn:%s:iam::%s:%s/%s", partition, account, kind, attributes["name"].AsString())
		attributes["arn"] = cty.StringVal(arn)
	}
	return cty.ObjectVal(attributes)
}

func (m *module) functions() map[string]function.Function {
	text := []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}, {Name: "by", Type: cty.String}}
	return map[string]function.Function{
		"can": tryfunc.CanFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "join": stdlib.JoinFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "length": stdlib.LengthFunc, "merge": stdlib.MergeFunc, "regex": stdlib.RegexFunc,
		"setsubtract": stdlib.SetSubtractFunc,
		// Terraform takes a part between slashes for a pattern.
		"replace": function.New(&function.Spec{Params: text, Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				if part := args[1].AsString(); len(part) > 1 && strings.HasPrefix(part, "/") && strings.HasSuffix(part, "/") {
					return cty.NilVal, fmt.Errorf("%s is a pattern", part)
				}
				return stdlib.Replace(args[0], args[1], args[2])
			}}),
		"file": function.New(&function.Spec{Params: text[:1], Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				found, err := os.ReadFile(args[0].AsString())
				return cty.StringVal(string(found)), err
			}}),
		"one": function.New(&function.Spec{Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
			Type: func(args []cty.Value) (cty.Type, error) { return cty.String, nil },
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				for _, only := range args[0].AsValueSlice() {
					return only, nil
				}
				return cty.NullVal(cty.String), nil
			}}),
	}
}

func name(traversal hcl.Traversal) string {
	parts := []string{}
	for _, step := range traversal {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			parts = append(parts, step.Name)
		case hcl.TraverseAttr:
			parts = append(parts, step.Name)
		default:
			return strings.Join(parts, ".")
		}
	}
	return strings.Join(parts, ".")
}

func checkAll(found hcl.Diagnostics) {
	if found.HasErrors() {
		fail("%s", found)
	}
}

func check(err error) {
	if err != nil {
		fail("%s", err)
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

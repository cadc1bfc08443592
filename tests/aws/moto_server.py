"""moto's server, with what its CloudFormation lacks: partitions, outputs of a change set, and lists without AWS::NoValue.

Arguments are those of moto_server.
"""

import sys

from moto import server

create_app = server.create_backend_app


def amended_app(service):
    # Not before it is asked for: with all that it can create, CloudFormation takes seconds to load, and most want IAM alone.
    if service == "cloudformation":
        amend_cloudformation()
    return create_app(service)


def amend_cloudformation():
    from moto.cloudformation import parsing
    from moto.cloudformation.models import ChangeSet
    from moto.utilities.utils import get_partition

    resolve = parsing.clean_json
    create = parsing.ResourceMap.__init__
    apply = ChangeSet.apply

    def without_no_value(node, resources):
        # It calls itself by this module's name for it, and so for every list in the template.
        value = resolve(node, resources)
        return [member for member in value if member is not None] if isinstance(value, list) else value

    def of_the_region(self, *args, **kwargs):
        create(self, *args, **kwargs)
        partition = get_partition(self._region_name)
        self._parsed_resources["AWS::Partition"] = partition
        self._parsed_resources["AWS::URLSuffix"] = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"

    def with_outputs(self):
        apply(self)
        self.stack.template_dict = self.template_dict
        self.stack.output_map = self.stack._create_output_map()

    parsing.clean_json = without_no_value
    parsing.ResourceMap.__init__ = of_the_region
    ChangeSet.apply = with_outputs


server.create_backend_app = amended_app
sys.exit(server.main())
